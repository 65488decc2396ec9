# pyright: strict
"""The bodies of the probe API: problems with their graphs, verdicts, and the events of the streams.

No behaviour beyond validation. Spans are half open, [start, end): `start`/`end` count characters of `text`,
`token_start`/`token_end` count the tokens that the policy wrote.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, model_validator

from serving.schemas import (
    DEFAULT_MAX_TOKENS,
    MAX_COMPARED,
    MAX_LOGPROBS,
    MAX_N,
    MAX_OP,
    MAX_SEED,
    Answer,
    ErrorBody,
    MaxTokens,
    ModelId,
    Policy,
    PromptText,
    Request,
    Seed,
    Stops,
    Temperature,
    TopP,
    UserTag,
)
from verifier.graphs.generate import MAX_ANSWER
from verifier.graphs.problem import DEFAULT_MAX_ANSWER, DEFAULT_MAX_CONSTANT, Mode, Template

StratumName = Annotated[StrictStr, Field(min_length=1, max_length=400)]

# --- Problems ---------------------------------------------------------------------------------------------------------


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


# --- The served task --------------------------------------------------------------------------------------------------


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


# --- Verdicts ---------------------------------------------------------------------------------------------------------

StepStatusName = Literal["right", "wrong value", "wrong operand", "too early", "duplicate", "invented", "missing"]


class StepBody(Answer):
    """One judged step. A missing quantity has the empty span at the end of the text.

    `inherited`: the step reads the result of a wrong one, so what it got wrong may not be its own doing.
    """

    index: int
    node: str
    status: StepStatusName
    reason: str
    start: int
    end: int
    inherited: bool


class VerdictBody(Answer):
    """The judgement of one text; `first_error` indexes `steps`. `outcome` is the final answer alone, `score` its grade
    in [0, 1] where the task gives partial credit. `verified` and `process_accuracy` are null where it judges no steps.
    """

    verified: bool | None
    outcome: bool
    score: float
    process_accuracy: float | None
    answer: str | None
    answer_status: Literal["right", "wrong", "missing"]
    steps: list[StepBody]
    first_error: int | None
    faults: list[str]


class VerifyRequest(About):
    """`POST /v1/probe/verify`: judges `text`, what follows the prompt."""

    text: PromptText


class VerifyAnswer(Answer):
    """The verdict, and what each reward scheme would have paid for it."""

    verdict: VerdictBody
    rewards: dict[str, float]


class DrawRequest(About):
    """`POST /v1/probe/draw`: a problem as a picture, or a `text` on it with every step marked."""

    text: PromptText | None = None

    @model_validator(mode="after")
    def _drawable(self) -> DrawRequest:
        if self.item is not None:
            raise ValueError("an item of the task has no graph to draw: give problem or texts")
        if self.texts is not None and self.text is None:
            raise ValueError("a problem given by its texts is drawn with a text to judge: give text")
        return self


# --- Solve and continue -----------------------------------------------------------------------------------------------


class SolveRequest(About):
    """`POST /v1/probe/solve`: one model, one problem, one trace. `logprobs` adds that many alternatives per token."""

    model: ModelId
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    seed: Seed | None = None
    stop: Stops | None = None
    logprobs: Annotated[StrictInt, Field(ge=0, le=MAX_LOGPROBS)] = 0
    stream: StrictBool = True
    user: UserTag | None = None


class ContinueRequest(SolveRequest):
    """`POST /v1/probe/continue`: as solve, after `prefix`, a trace up to where the model goes on (edited or not).

    A final full stop of `prefix` is left to the policy, whose tokens carry it together with what follows.
    """

    prefix: PromptText


class Alternative(Answer):
    """A token that the policy weighed at one place."""

    id: int
    text: str
    logprob: float


class TokenBody(Answer):
    """One written token. `StartEvent.prefix` and the texts of all tokens join to the answer's text."""

    index: int
    id: int
    text: str
    start: int
    end: int
    logprob: float
    top: list[Alternative]


class StartEvent(Answer):
    """Event `start`, first and once. `prefix` is the trace that was given (empty for solve)."""

    request_id: str
    policy: Policy
    problem_id: str
    prompt: str
    prefix: str
    prompt_tokens: int


class TokenEvent(Answer):
    """Event `token`: the tokens that have arrived since the last one, oldest first."""

    tokens: list[TokenBody]


class StepEvent(StepBody):
    """Event `step`: sent as soon as a step is complete, never taken back; `done` repeats all of them.

    `logprobs` are those of the tokens [token_start, token_end); both are empty for a step inside `prefix`.
    """

    token_start: int
    token_end: int
    logprobs: list[float]


class Timing(Answer):
    """Milliseconds from the arrival of the request."""

    first_token_ms: float | None
    total_ms: float


class SolveAnswer(Answer):
    """Event `done`, last; also the whole answer of `stream: false`. Steps and verdict are those of the full text.

    `recovered` is for continue: whether the answer came out right although `prefix` holds a wrong step (else null).
    """

    policy: Policy
    problem_id: str
    text: str
    tokens: list[TokenBody]
    steps: list[StepEvent]
    verdict: VerdictBody
    rewards: dict[str, float]
    finish_reason: Literal["stop", "length", "abort"]
    prompt_tokens: int
    completion_tokens: int
    recovered: bool | None
    timing: Timing


class ErrorEvent(Answer):
    """Event `error`: as the body of a failed request; the stream ends after it, without `[DONE]`."""

    error: ErrorBody


# --- Compare ----------------------------------------------------------------------------------------------------------


class CompareRequest(About):
    """`POST /v1/probe/compare`: the same problem and seed, asked of each model."""

    models: Annotated[list[ModelId], Field(min_length=2, max_length=MAX_COMPARED)]
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    seed: Seed | None = None
    logprobs: Annotated[StrictInt, Field(ge=0, le=MAX_LOGPROBS)] = 0


class CompareCell(Answer):
    """What one model did at one node; `text` is its step's sentence, `step` indexes that answer's steps."""

    status: StepStatusName
    reason: str
    step: int
    text: str


class CompareRow(Answer):
    """One step across the models, in the order of `models`; null where a model says nothing of the node.

    Rows come in the order of the gold trace, then invented quantities as they appear. `same` compares the texts.
    """

    node: str
    known: bool
    cells: list[CompareCell | None]
    same: bool


class Parting(Answer):
    """The first place where the traces differ: the node, the first differing token of any pair, and a sentence."""

    node: str | None
    token: int
    sentence: str


class CompareAnswer(Answer):
    """`POST /v1/probe/compare`: `answers[i]` belongs to `models[i]`; `parting` is null when all texts are equal."""

    problem_id: str
    seed: int
    answers: list[SolveAnswer]
    rows: list[CompareRow]
    parting: Parting | None


# --- pass@k -----------------------------------------------------------------------------------------------------------


SampleCount = Annotated[StrictInt, Field(ge=1, le=MAX_N)]


class PassAtKRequest(About):
    """`POST /v1/probe/pass-at-k`: draws `samples` traces for each of `problems` problems and estimates as they come.

    With `problem` or `item`, problem i has the seed given plus i; with `texts` there is one. Ends early when the widest
    interval of the largest k is at most `stop_width`.
    """

    model: ModelId
    problems: Annotated[StrictInt, Field(ge=1, le=64)] = 1
    samples: SampleCount = 16
    ks: Annotated[tuple[SampleCount, ...], Field(min_length=1, max_length=8)] = (1, 2, 4, 8)
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    seed: Seed | None = None
    stop_width: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    stream: StrictBool = True

    @model_validator(mode="after")
    def _fits(self) -> PassAtKRequest:
        if max(self.ks) > self.samples:
            raise ValueError(f"ks must not exceed samples ({self.samples})")
        if self.texts is not None and self.problems != 1:
            raise ValueError("texts names one problem: problems must be 1")
        seeded = self.problem or self.item
        if seeded is not None and seeded.seed + self.problems - 1 > MAX_SEED:
            raise ValueError("seed + problems exceeds the largest seed")
        return self


class PassStart(Answer):
    """Event `start` of pass-at-k."""

    request_id: str
    policy: Policy
    problems: int
    samples: int


class SampleEvent(Answer):
    """Event `sample`: one trace has been judged. `solve` with this `seed` and sampling writes the same text."""

    problem: int
    sample: int
    seed: int
    outcome: bool
    verified: bool | None
    process_accuracy: float | None
    answer: str | None
    text: str


class Estimate(Answer):
    """A pass@k in [0, 1] with its 95% interval [lo, hi]."""

    k: int
    mean: float
    lo: float
    hi: float


class EstimateEvent(Answer):
    """Event `estimate`: after each sample, with both readings of "right"; `n` traces judged so far.

    `strict` counts verified traces, `outcome` right answers: the gap is "right for the wrong reason". A k larger
    than the samples at hand is left out, and `strict` is empty where the task judges no steps.
    """

    n: int
    outcome: list[Estimate]
    strict: list[Estimate]


class PassAtKAnswer(Answer):
    """Event `done` of pass-at-k, and the whole answer of `stream: false`."""

    policy: Policy
    n: int
    stopped_early: bool
    outcome: list[Estimate]
    strict: list[Estimate]
    timing: Timing


EVENTS = (
    StartEvent,
    TokenEvent,
    StepEvent,
    SolveAnswer,
    PassStart,
    SampleEvent,
    EstimateEvent,
    PassAtKAnswer,
    ErrorEvent,
)
"""What the streams carry; the OpenAPI document lists their schemas."""
