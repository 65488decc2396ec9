# pyright: strict
"""`recovery`: errors planted in a right trace, what each checkpoint made of them, and one number per checkpoint."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from serving.probe.bodies.problems import About
from serving.probe.bodies.solve import Timing
from serving.schemas import (
    DEFAULT_MAX_TOKENS,
    MAX_COMPARED,
    MAX_DRAWS,
    MAX_N,
    MAX_PLANTED_STEPS,
    Answer,
    MaxTokens,
    ModelId,
    Policy,
    PromptText,
    Seed,
    Temperature,
    TopP,
)
from verifier.recovery import ALTERNATIVES, Alternative

DEFAULT_STEPS = 4
StepIndex = Annotated[StrictInt, Field(ge=0, le=255)]
OutcomeName = Literal["recovered", "followed", "answer only", "other", "cut off"]


class RecoveryRequest(About):
    """`POST /v1/probe/recovery`: plants `alternatives` at `steps` of a right trace and lets every model go on from
    each, `samples` times.

    `trace` is the gold one where it is left out, `steps` are places in it, from 0; without them up to four, spread over
    the trace. All models draw with the same seeds.
    """

    models: Annotated[tuple[ModelId, ...], Field(min_length=1, max_length=MAX_COMPARED, fail_fast=True)]
    trace: PromptText | None = None
    steps: (
        Annotated[tuple[StepIndex, ...], Field(min_length=1, max_length=MAX_PLANTED_STEPS, fail_fast=True)] | None
    ) = None
    alternatives: Annotated[
        tuple[Alternative, ...], Field(min_length=1, max_length=len(ALTERNATIVES), fail_fast=True)
    ] = ALTERNATIVES
    samples: Annotated[StrictInt, Field(ge=1, le=MAX_N)] = 8
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    seed: Seed | None = None
    stream: StrictBool = True

    @model_validator(mode="after")
    def _fits(self) -> RecoveryRequest:
        for name, values in (("models", self.models), ("steps", self.steps or ()), ("alternatives", self.alternatives)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one twice")
        steps = DEFAULT_STEPS if self.steps is None else len(self.steps)
        draws = steps * len(self.alternatives) * len(self.models) * self.samples
        if draws > MAX_DRAWS:
            raise ValueError(f"steps x alternatives x models x samples is {draws}, more than {MAX_DRAWS}")
        return self


class PlantedBody(Answer):
    """An error that is planted: instead of `right` stands `told` (nothing for an omission), at the end of `prefix`.

    The judge names the step `first_error` of `prefix` first. `leads_to` is the answer that follows from the error; null
    for an omission.
    """

    step: int
    node: str
    alternative: Alternative
    right: str
    told: str
    prefix: str
    first_error: str
    leads_to: int | None


class UnplantedBody(Answer):
    """An alternative that cannot be made at a step, and why."""

    step: int
    node: str
    alternative: Alternative
    reason: str


class RecoveryStart(Answer):
    """Event `start` of recovery: what is planted in which trace. Cells come in the order of `models` and `planted`."""

    request_id: str
    problem_id: str
    trace: str
    seed: int
    models: list[str]
    samples: int
    planted: list[PlantedBody]
    unplanted: list[UnplantedBody]


class Shares(Answer):
    """What became of `n` continuations, and the share that recovered with its 95% interval (Wilson's) [lo, hi].

    `recovered`: the step was said again rightly, and the answer and all that was written after the error are right.
    `followed`: they would be right if the error were true. `answer_only`: the answer is right, its trace is not.
    `cut_off`: the tokens ran out before an answer.
    """

    n: int
    recovered: int
    followed: int
    answer_only: int
    other: int
    cut_off: int
    rate: float
    lo: float
    hi: float


class DrawBody(Answer):
    """One continuation, with the prefix. `continue` from the prefix with this `seed` writes the same."""

    seed: int
    outcome: OutcomeName
    answer: str | None
    text: str


class CellBody(Answer):
    """What one model made of one planted error; `model` and `planted` are places in the lists of `start`."""

    model: int
    planted: int
    shares: Shares


class CellEvent(CellBody):
    """Event `cell`: all continuations of one model from one planted error."""

    draws: list[DrawBody]


class CheckpointEvent(Answer):
    """Event `checkpoint`: a model's cells are complete. `shares.rate` is its recovery rate."""

    model: int
    policy: Policy
    shares: Shares


class RecoveryAnswer(Answer):
    """Event `done` of recovery, and the whole answer of `stream: false`; the continuations are in the events only."""

    problem_id: str
    trace: str
    seed: int
    models: list[str]
    planted: list[PlantedBody]
    unplanted: list[UnplantedBody]
    cells: list[CellBody]
    checkpoints: list[CheckpointEvent]
    timing: Timing
