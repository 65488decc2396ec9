"""The problem behind a probe: made from its cell and seed or read from its texts, with the gold trace prepared.

Bridges the verifier's records and the wire's bodies. Making and preparing are cached: a page asks for the same problem
many times. No HTTP, no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from serving.http.errors import BadRequest
from serving.probe.schemas import (
    GraphEdge,
    GraphNode,
    ProblemAnswer,
    ProblemGraph,
    ProblemRequest,
    ProblemTexts,
    StepBody,
    VerdictBody,
)
from verifier.errors import ImpossibleSpec, MalformedProblem
from verifier.graphs.generate import generate
from verifier.graphs.graph import canonical_hash, layout
from verifier.graphs.judge.judge import Gold, prepare
from verifier.graphs.problem import Graph, Problem, ProblemSpec
from verifier.graphs.tell import prompt_text
from verifier.judgement import StepJudgement, TraceJudgement
from verifier.rewards.named import ANSWER_REWARDS, STEP_REWARDS
from verifier.rewards.registry import Reward


@dataclass(frozen=True, slots=True)
class Posed:
    """A problem as a probe needs it: its key, what the policy is shown, and what its answer is judged against."""

    id: str
    prompt: str
    gold: Gold


def posed(problem: ProblemRequest | None, texts: ProblemTexts | None) -> Posed:
    """The problem of a request that has exactly one of the two. BadRequest names the field at fault."""
    if problem is not None:
        made = make(problem)
        return Posed(
            made.id, prompt_text(made.problem, made.question), _gold(made.problem, made.question, made.solution)
        )
    assert texts is not None
    gold = _gold(texts.problem, texts.question, texts.solution)
    return Posed("texts", prompt_text(texts.problem, texts.question), gold)


def make(request: ProblemRequest) -> Problem:
    """The problem of a cell and a seed; BadRequest when no problem can be what was asked for."""
    cell = request.model_dump(exclude={"seed"})
    return _made(ProblemSpec(**cell), request.seed)


@lru_cache(maxsize=512)
def _made(spec: ProblemSpec, seed: int) -> Problem:
    try:
        return generate(spec, seed)
    except ImpossibleSpec as error:
        raise BadRequest(str(error), param="problem", code="impossible_problem") from error


def problem_answer(request: ProblemRequest) -> ProblemAnswer:
    """A problem with its graph, laid out."""
    made = make(request)
    return ProblemAnswer(
        id=made.id,
        hash=canonical_hash(made),
        spec=request,
        problem=made.problem,
        question=made.question,
        prompt=prompt_text(made.problem, made.question),
        solution=made.solution,
        answer=made.answer,
        graph=_drawn(made.graph),
    )


def verdict_body(verdict: TraceJudgement) -> VerdictBody:
    """A verdict on the wire."""
    return VerdictBody(
        verified=verdict.verified,
        outcome=verdict.right,
        process_accuracy=verdict.process_accuracy,
        answer=verdict.answer,
        answer_status=verdict.answer_status.value,
        steps=[step_body(i, step) for i, step in enumerate(verdict.steps)],
        first_error=verdict.first_error,
        faults=list(verdict.faults),
    )


def step_body(index: int, step: StepJudgement) -> StepBody:
    """A step's verdict on the wire."""
    return StepBody(
        index=index,
        node=step.name,
        status=step.status.value,
        reason=step.reason,
        start=step.start,
        end=step.end,
        inherited=step.inherited,
    )


def rewards(verdict: TraceJudgement) -> dict[str, float]:
    """What each scheme pays for a verdict, with the paper's default weight of the outcome."""
    alpha = Reward().alpha
    named = {name: function(verdict, alpha) for name, function in ANSWER_REWARDS.items()}
    return named | {name: function(verdict, alpha) for name, function in STEP_REWARDS.items()}


@lru_cache(maxsize=512)
def _gold(problem: str, question: str, solution: str) -> Gold:
    try:
        return prepare(problem, question, solution)
    except MalformedProblem as error:
        raise BadRequest(str(error), param="texts.solution", code="malformed_problem") from error


def _drawn(graph: Graph) -> ProblemGraph:
    plan = layout(graph)
    place = {name: (row, column) for row, names in enumerate(plan.layers) for column, name in enumerate(names)}
    distractors = {quantity.name for quantity in graph.distractors}
    quantities = (*graph.needed, *graph.distractors)
    nodes = [
        GraphNode(
            name=quantity.name,
            operation=quantity.operation.value,
            constant=quantity.constant,
            parents=list(quantity.parents),
            value=quantity.value,
            role=_role(quantity.name, graph, distractors),
            layer=place[quantity.name][0],
            order=place[quantity.name][1],
        )
        for quantity in quantities
    ]
    edges = [GraphEdge(source=parent, target=q.name) for q in quantities for parent in q.parents]
    return ProblemGraph(nodes=nodes, edges=edges, layers=len(plan.layers), width=plan.width)


def _role(name: str, graph: Graph, distractors: set[str]) -> Literal["needed", "query", "given", "distractor"]:
    if name == graph.query:
        return "query"
    if name == graph.given:
        return "given"
    return "distractor" if name in distractors else "needed"
