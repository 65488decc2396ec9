# pyright: strict
"""Judgements on the wire, with their spans: `verify` and `draw`."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from serving.probe.bodies.problems import About
from serving.schemas import (
    Answer,
    PromptText,
)

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


class JudgementBody(Answer):
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
    """The judgement, and what each reward scheme would have paid for it."""

    judgement: JudgementBody
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
