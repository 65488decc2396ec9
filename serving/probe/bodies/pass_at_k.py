# pyright: strict
"""`pass-at-k`: samples as they are judged, and the estimates."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, model_validator

from serving.probe.bodies.problems import About
from serving.probe.bodies.solve import Timing
from serving.schemas import (
    DEFAULT_MAX_TOKENS,
    MAX_N,
    MAX_SEED,
    Answer,
    MaxTokens,
    ModelId,
    Policy,
    Seed,
    Temperature,
    TopP,
)

SampleCount = Annotated[StrictInt, Field(ge=1, le=MAX_N)]


class PassAtKRequest(About):
    """`POST /v1/probe/pass-at-k`: draws `samples` traces for each of `problems` problems and estimates as they come.

    With `problem` or `item`, problem i has the seed given plus i; with `texts` there is one. Ends early when the widest
    interval of the largest k is at most `stop_width`.
    """

    model: ModelId
    problems: Annotated[StrictInt, Field(ge=1, le=64)] = 1
    samples: SampleCount = 16
    ks: Annotated[tuple[SampleCount, ...], Field(min_length=1, max_length=8, fail_fast=True)] = (1, 2, 4, 8)
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
    """Event `estimate`: after samples, at most 127 times, with both readings of "right"; `n` traces judged so far.

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
