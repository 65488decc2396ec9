"""The op-graph problem behind a probe: made from its cell and seed or read from its texts, and drawn.

Only this module and those in `probe.bodies` know the family of the op-graph problems. Making one and preparing its gold
trace are cached: a page asks for the same problem many times. No HTTP, no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from serving.desk import Clerk
from serving.http.errors import BadRequest
from serving.probe.bodies.judgements import DrawRequest
from serving.probe.bodies.problems import (
    GraphEdge,
    GraphNode,
    ProblemAnswer,
    ProblemGraph,
    ProblemRequest,
    ProblemTexts,
)
from verifier.errors import ImpossibleSpec, MalformedProblem
from verifier.graphs.draw import judgement_svg, problem_svg
from verifier.graphs.generate import generate
from verifier.graphs.graph import canonical_hash, layout
from verifier.graphs.judge.judge import Gold, prepare, verify
from verifier.graphs.plant import plant, verify_as_if
from verifier.graphs.problem import Graph, Problem, ProblemSpec
from verifier.graphs.tell import completion_text, prompt_text
from verifier.judgement import StepJudgement, StepStatus, TraceJudgement
from verifier.recovery import Alternative, Planted, Unplanted

_REMEMBERED_CHARS: Final = 16_384  # a problem of op 40 has about 6,000


@dataclass(frozen=True, slots=True)
class PosedProblem:
    """A problem as a probe needs it: its key, what the policy is shown, a right trace, and what judges an answer."""

    id: str
    prompt: str
    trace: str
    gold: Gold

    @property
    def nodes(self) -> tuple[str, ...]:
        """The needed quantities, in the order of the gold trace."""
        return tuple(self.gold.steps)

    def judgement(self, text: str) -> TraceJudgement:
        """The judgement of a text."""
        return verify(text, self.gold)

    async def judge(self, text: str, clerk: Clerk) -> TraceJudgement:
        """As `judgement`, when it is the caller's turn: a long text takes many milliseconds."""
        return await clerk.do(self.judgement, text)

    async def stated(self, text: str, clerk: Clerk) -> list[StepJudgement]:
        """The steps that stand in a text."""
        judgement = await self.judge(text, clerk)
        return [step for step in judgement.steps if step.status is not StepStatus.MISSING]

    async def plant(
        self, trace: str, step: int, alternative: Alternative, seed: int, clerk: Clerk
    ) -> Planted | Unplanted:
        """An alternative at a step of a right trace, made when it is the caller's turn."""
        return await clerk.do(plant, trace, self.gold, step, alternative, seed)

    async def judge_as_if(self, planted: Planted, text: str, clerk: Clerk) -> TraceJudgement | None:
        """The judgement of a text as if the planted error were true."""
        return await clerk.do(verify_as_if, text, planted)


def posed_cell(request: ProblemRequest) -> PosedProblem:
    """The problem of a cell and a seed. BadRequest names the field at fault."""
    made = make(request)
    prompt = prompt_text(made.problem, made.question)
    gold = _gold(made.problem, made.question, made.solution)
    return PosedProblem(made.id, prompt, completion_text(made.solution), gold)


def posed_texts(texts: ProblemTexts) -> PosedProblem:
    """The problem of the texts. BadRequest names the field at fault."""
    gold = _gold(texts.problem, texts.question, texts.solution)
    prompt = prompt_text(texts.problem, texts.question)
    return PosedProblem("texts", prompt, completion_text(texts.solution), gold)


def picture(request: DrawRequest) -> str:
    """The SVG of a problem's graph, or of a text's judgement on it."""
    if request.problem is not None and request.text is None:
        return problem_svg(make(request.problem).graph)
    text = request.text
    assert text is not None
    if request.problem is not None:
        problem = posed_cell(request.problem)
    else:
        assert request.texts is not None
        problem = posed_texts(request.texts)
    return judgement_svg(problem.gold, problem.judgement(text))


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


def _gold(problem: str, question: str, solution: str) -> Gold:
    """The gold trace of three texts, from memory unless they are long: what anyone sends is not to fill it."""
    long = len(problem) + len(question) + len(solution) > _REMEMBERED_CHARS
    return (_prepared.__wrapped__ if long else _prepared)(problem, question, solution)


@lru_cache(maxsize=512)
def _prepared(problem: str, question: str, solution: str) -> Gold:
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
