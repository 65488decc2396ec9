# pyright: strict
"""What a probe is about: op-graph problems with their graphs, and the items of the served task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt, StrictStr, model_validator

from serving.schemas import (
    MAX_OP,
    Answer,
    PromptText,
    Request,
    Seed,
)
from verifier.graphs.generate import MAX_ANSWER
from verifier.graphs.problem import DEFAULT_MAX_ANSWER, DEFAULT_MAX_CONSTANT, Mode, Template

StratumName = Annotated[StrictStr, Field(min_length=1, max_length=400)]


class ProblemRequest(Request):
    """One cell of the task grid and a seed: the same fields give the same problem, byte for byte."""

    op: Annotated[StrictInt, Field(ge=1, le=MAX_OP)]
    mode: Mode = "forward"
    template: Template = "zoo"
    seed: Seed = 0
    depth: Annotated[StrictInt, Field(ge=2, le=4)] = 2
    max_facts: Annotated[StrictInt, Field(ge=1, le=200)] | None = None
    max_answer: Annotated[StrictInt, Field(ge=1, le=MAX_ANSWER)] = DEFAULT_MAX_ANSWER
    max_constant: Annotated[StrictInt, Field(ge=1, le=250)] = DEFAULT_MAX_CONSTANT


class ProblemTexts(Request):
    """A problem by its texts, when it was not made here; `solution` is the gold trace, ending in "Answer: N."."""

    problem: PromptText
    question: PromptText
    solution: PromptText


class ItemRequest(Request):
    """A held-out item of the served task, by the name of its stratum and a seed: the same two give the same item."""

    stratum: StratumName
    seed: Seed = 0


class About(Request):
    """A request about one problem: an op-graph problem by `problem` or `texts`, or an `item` of the served task."""

    problem: ProblemRequest | None = None
    texts: ProblemTexts | None = None
    item: ItemRequest | None = None

    @model_validator(mode="after")
    def _one(self) -> About:
        if sum(given is not None for given in (self.problem, self.texts, self.item)) != 1:
            raise ValueError("give exactly one of problem, texts and item")
        return self


class GraphNode(Answer):
    """One quantity. `layer` (0 at the sources) and `order` (0 at the left) are its place in the drawing.

    `parents` are names in the order of the sentence; `value` is the true one. `role` is "query" for what is asked,
    "given" for the quantity whose value a reverse problem gives away, else "needed" or "distractor".
    """

    name: str
    operation: str
    constant: int | None
    parents: list[str]
    value: int
    role: Literal["needed", "query", "given", "distractor"]
    layer: int
    order: int


class GraphEdge(Answer):
    """`target` is computed from `source`; both are node names."""

    source: str
    target: str


class ProblemGraph(Answer):
    """The dependency graph with its layout: `layers` rows, the widest of `width` nodes."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]
    layers: int
    width: int


class ProblemAnswer(Answer):
    """`POST /v1/probe/problems`. `prompt` is what a policy is shown; `hash` names the graph up to letters and order."""

    id: str
    hash: str
    spec: ProblemRequest
    problem: str
    question: str
    prompt: str
    solution: str
    answer: int
    graph: ProblemGraph


class StratumBody(Answer):
    """One kind of item: its name, and its value on each of the family's axes."""

    name: str
    axes: dict[str, int | float | str]


class TaskAnswer(Answer):
    """`GET /v1/probe/task`: the task that the operator serves; without one, `family` is null."""

    family: str | None
    has_steps: bool
    strata: list[StratumBody]


class ItemAnswer(Answer):
    """`POST /v1/probe/items`. `prompt` is what a policy is shown (the contents of its messages, where it is asked in
    chat); `gold` is a right answer's text where the family knows one.
    """

    id: str
    item: ItemRequest
    prompt: str
    gold: str | None
