"""What becomes of an error: a wrong step planted in a right trace, and what a model makes of it afterwards.

The family makes the alternatives, since only it knows its language, and judges a text as if the planted error were
true. Whether a continuation recovered is read from the two judgements here, the same for every family that judges
steps. docs/decisions/0170-the-recovery-map.md weighs the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

from verifier.judgement import StepJudgement, StepStatus, TraceJudgement
from verifier.task import Item

Alternative = Literal["value", "operand", "omission"]
"""What is planted: a wrong value, a wrong operand with the value that follows from it, or the step left out."""
ALTERNATIVES: tuple[Alternative, ...] = ("value", "operand", "omission")

_HARMLESS = frozenset({StepStatus.RIGHT, StepStatus.DUPLICATE})


class Outcome(StrEnum):
    """What a model made of a planted error."""

    RECOVERED = "recovered"  # said again rightly; the answer and all that was written after the error are right
    FOLLOWED = "followed"  # the answer and all that was written after it would be right if the error were true
    ANSWER_ONLY = "answer only"  # the answer is right, what leads to it is not
    OTHER = "other"
    CUT_OFF = "cut off"  # the tokens ran out before an answer


@dataclass(frozen=True, slots=True)
class Planted:
    """A right trace up to and with a planted error.

    `step` is the place of the step `name` among the trace's steps, `right` its text there and `told` what stands
    instead: nothing for an omission, where `prefix` goes on to the first step that reads what was left out. The judge
    names the step `first_error` of `prefix` first. `leads_to` is the wrong answer to which right steps lead from here;
    None for an omission, from which no number follows. `payload` is the family's own.
    """

    alternative: Alternative
    step: int
    name: str
    right: str
    told: str
    prefix: str
    first_error: str
    leads_to: int | None
    payload: object

    @property
    def given(self) -> str:
        """What a policy goes on from: its tokens carry the last full stop together with what follows."""
        return self.prefix.removesuffix(".")


@dataclass(frozen=True, slots=True)
class Unplanted:
    """An alternative that cannot be made at a step, and why."""

    alternative: Alternative
    step: int
    name: str
    reason: str


@runtime_checkable
class Plants(Protocol):
    """What a task can do besides if errors can be planted in right traces of its items. Pure, like the task."""

    def plant(self, item: Item, trace: str, step: int, alternative: Alternative, seed: int) -> Planted | Unplanted:
        """One alternative at one step of a right trace; the same seed chooses the same. Raises NotARightTrace."""
        ...

    def judge_as_if(self, planted: Planted, text: str) -> TraceJudgement | None:
        """Judge a text as if the planted error were true; None where no answer follows from it."""
        ...


def outcome(
    planted: Planted, judgement: TraceJudgement, as_if: TraceJudgement | None, after: int, cut_off: bool
) -> Outcome:
    """What a text made of an error planted before its character `after`.

    `judgement` is the text's own, `as_if` that of `Plants.judge_as_if`; `cut_off` says that its tokens ran out.
    """
    if _right_after(judgement, after) and planted.name in {step.name for step in _later(judgement, after)}:
        return Outcome.RECOVERED
    if as_if is not None and _right_after(as_if, after):
        return Outcome.FOLLOWED
    if judgement.right:
        return Outcome.ANSWER_ONLY
    return Outcome.CUT_OFF if cut_off and judgement.answer is None else Outcome.OTHER


def _right_after(judgement: TraceJudgement, after: int) -> bool:
    """Whether the answer and every later step are right, and nothing is missing or said besides."""
    later = (step.status for step in _later(judgement, after))
    return judgement.right and not judgement.faults and all(status in _HARMLESS for status in later)


def _later(judgement: TraceJudgement, after: int) -> list[StepJudgement]:
    """The steps that begin at `after` or later. Missing ones begin at the end of the text."""
    return [step for step in judgement.steps if step.start >= after]
