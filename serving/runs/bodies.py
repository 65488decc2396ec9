# pyright: strict
"""What the routes of runs answer. A run is named by its folder's name; no answer holds a path."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt, model_validator

from serving.probe.bodies.judgements import JudgementBody
from serving.schemas import MAX_WORKERS, Answer, Request


class StageBody(Answer):
    """A stage that has logged steps: `step` of `steps` is done; times are seconds since 1970."""

    name: str
    kind: Literal["rl", "training"]
    step: int
    steps: int
    began: float
    updated: float


class RunCard(Answer):
    """One served run; `updated` is the time of its last event, null before the first."""

    name: str
    updated: float | None
    stages: list[StageBody]


class RunList(Answer):
    """`GET /v1/runs`, in the order in which the server was given them."""

    data: list[RunCard]


class WorkerBody(Answer):
    """A rollout worker by its last weight update: the version it took, when, and how long generation stood still."""

    name: str
    weight_version: int
    time: float
    pause_s: float | None
    parity_max_abs_diff: float | None


class LiveWorker(Answer):
    """A worker of a live run. `failures` counts the recent losses of its slot."""

    kind: Literal["rollout", "reward"]
    name: str
    state: Literal["starting", "syncing", "ready", "suspect", "draining", "dead", "retired"]
    weight_version: int | None
    failures: int


class FleetBody(Answer):
    """The workers of a live run, and how many were replaced since it began or was resumed."""

    workers: list[LiveWorker]
    rollout_restarts: int
    reward_restarts: int


class LiveBody(Answer):
    """Where a live run stands, by its own word at `time`: `done` of `total` in its stage (0 of 0 as it begins), and
    what it waits for. `fleet` is null before its first evaluation or RL stage; `stopping` since it was asked to end.
    """

    time: float
    stage: str
    done: int
    total: int
    waits_for: str
    fleet: FleetBody | None
    stopping: bool


class RunAnswer(RunCard):
    """`GET /v1/runs/{run}`. `counters` are the fleet's at the end of its last stage (restarts, groups sent again);
    `noted` counts events such as `resumed` or `learner_lost`. `left_out` lines of the log could not be understood.
    `live` is null when the run is not live; `controls` says whether this key may scale and stop it.
    """

    workers: list[WorkerBody]
    counters: dict[str, int]
    noted: dict[str, int]
    left_out: int
    live: LiveBody | None
    controls: bool


class CurveBody(Answer):
    """Values at rising steps."""

    steps: list[int]
    values: list[float]


class StratumBody(Answer):
    """The curriculum's numbers of a stratum: its pass rate, and its share of the groups drawn."""

    name: str
    pass_rate: CurveBody
    share: CurveBody


class MetricsAnswer(Answer):
    """`GET /v1/runs/{run}/metrics`: the curves of a stage between two steps, at most `points` values each.

    `steps` is how many the stage has in that range. `evaluations` are those between steps. `strata_left_out` counts
    strata beyond the 64 that are shown.
    """

    run: str
    stage: str
    kind: Literal["rl", "training"]
    first: int
    last: int
    steps: int
    points: int
    curves: dict[str, CurveBody]
    evaluations: dict[str, CurveBody]
    strata: list[StratumBody]
    strata_left_out: int


class FindingBody(Answer):
    """What went wrong, since which step, by which numbers, and what to turn; `docs` is the page that explains it."""

    stage: str
    name: str
    since: int
    until: int | None
    line: str
    evidence: str
    knob: str
    docs: str


class FindingList(Answer):
    """`GET /v1/runs/{run}/findings`, by stage and by beginning."""

    data: list[FindingBody]


class BeforeAfter(Answer):
    """A number of the first and of the last evaluation; null where it has none."""

    before: float | None
    after: float | None


class ChangeBody(Answer):
    """The held-out problems of a stratum by what became of them (newly solved, lost, solved both times, never); wrong
    steps per completion by kind; steps before the first error; different traces of a problem.
    """

    stratum: str
    problems: int
    gained: int
    lost: int
    kept: int
    never: int
    errors: dict[str, BeforeAfter]
    first_error: BeforeAfter
    traces: BeforeAfter


class ChangeList(Answer):
    """`GET /v1/runs/{run}/changes`: empty until the run has a report with two evaluations."""

    data: list[ChangeBody]


Fate = Literal["gained", "lost", "kept", "never"]


class AttemptsBody(Answer):
    """What one evaluation made of a problem: `right` of `samples` completions, and one that ended as most did."""

    right: int
    samples: int
    text: str
    judgement: JudgementBody


class ChangedBody(Answer):
    """A held-out problem with what both evaluations wrote."""

    prompt: str
    before: AttemptsBody
    after: AttemptsBody


class ChangedList(Answer):
    """`GET /v1/runs/{run}/traces`: `total` problems are kept, of which the first 100 are here."""

    total: int
    data: list[ChangedBody]


class KeptSteps(Answer):
    """The steps of a stage whose rollouts are kept."""

    stage: str
    steps: list[int]


class RolloutSteps(Answer):
    """`GET /v1/runs/{run}/rollouts`."""

    stages: list[KeptSteps]


Workers = Annotated[StrictInt, Field(ge=1, le=MAX_WORKERS)]


class ScaleRequest(Request):
    """`POST /v1/admin/runs/{run}/scale`: how many workers to have; a number that is left out stays as it is."""

    rollout_workers: Workers | None = None
    reward_workers: Workers | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> ScaleRequest:
        if self.rollout_workers is None and self.reward_workers is None:
            raise ValueError("give rollout_workers, reward_workers or both")
        return self


class ScaleAnswer(Answer):
    """The numbers that the run has taken."""

    rollout_workers: int | None
    reward_workers: int | None


class StopRequest(Request):
    """`POST /v1/admin/runs/{run}/stop`: an empty object."""


class StopAnswer(Answer):
    """The run saves, then ends."""

    state: Literal["stopping"] = "stopping"


StatusName = Literal["solved", "answer", "wrong", "cut"]


class RolloutHead(Answer):
    """A kept rollout in a list. `row` is its number in the step, `tokens` how many were drawn, with the last one."""

    row: int
    place: int
    attempt: int
    sample: int
    stratum: str
    item: str
    status: StatusName
    reward: float
    process_accuracy: float | None
    first_error: int | None
    tokens: int
    first_weight_version: int
    weight_version: int
    trained: bool


class RolloutPage(Answer):
    """`GET /v1/runs/{run}/rollouts/{stage}/{step}`: some of the `total` rows that fit; `strata` are the step's."""

    stage: str
    step: int
    strata: list[str]
    total: int
    rows: list[RolloutHead]


class KeptToken(Answer):
    """A drawn token: the characters [start, end) of the text, its log-probability under the engine and the learner
    before the step (nats), its advantage, and the credit of the judged step that it belongs to.
    """

    id: int
    text: str
    start: int
    end: int
    logprob: float
    learner_logprob: float | None
    advantage: float | None
    credit: float


class RolloutAnswer(Answer):
    """`GET /v1/runs/{run}/rollouts/{stage}/{step}/{row}`. `prompt` and `tokens` need a checkpoint of the run, whose
    tokenizer gives their texts; they are null without one.
    """

    stage: str
    step: int
    row: int
    stratum: str
    item: str
    prompt: str | None
    text: str
    tokens: list[KeptToken] | None
    judgement: JudgementBody
    status: StatusName
    reward: float
    finish_reason: str
    trained: bool
    first_weight_version: int
    weight_version: int


class StepsEvent(Answer):
    """Event `steps`: steps that the stage has taken since the last one, a row each; null is what a step lacks."""

    stage: str
    total: int
    steps: list[int]
    curves: dict[str, list[float | None]]
    strata: dict[str, dict[Literal["pass_rate", "share"], list[float | None]]]


class ChangedEvent(Answer):
    """Event `changed`: more has changed than new steps tell, so ask for the run's metrics again."""

    reason: Literal["another stage", "steps done again", "far behind"]


class PausedEvent(Answer):
    """Event `done`: the time of this stream is over; the run may go on. Ask again, `after` the step named here."""

    after: int


EVENTS = (StepsEvent, ChangedEvent, PausedEvent)
"""What the stream of a run carries; the OpenAPI document lists their schemas."""
