"""The judgement of a text: whether its answer is right and, where the family judges steps, the status of each.

A judgement is data. A task makes it, `verifier.rewards` turns it into numbers, and it never holds an exception: a judge
that fails raises, so that its failure cannot pass for a wrong answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar, cast

from verifier.errors import BadJudgement

MAX_TEXT = 10_000  # characters of each text in a judgement: an answer, a name, a reason, a fault
RIGHT_CREDIT = 1.0
WRONG_CREDIT = -1.0

_Part = TypeVar("_Part")


class StepStatus(StrEnum):
    """The status of a step of the text, or of a needed step that the text leaves out."""

    RIGHT = "right"
    WRONG_VALUE = "wrong value"
    WRONG_OPERAND = "wrong operand"
    TOO_EARLY = "too early"
    DUPLICATE = "duplicate"
    INVENTED = "invented"
    MISSING = "missing"


class AnswerStatus(StrEnum):
    """The status of the final answer."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class StepJudgement:
    """One step: what it establishes, its status, the reason in words, its span in characters [start, end).

    A MISSING step has no text: start == end == length of the text judged. `inherited` says that the step reads,
    directly or not, the result of a wrong step: its error may not be its own.
    """

    name: str
    status: StepStatus
    reason: str
    start: int
    end: int
    inherited: bool = False

    @property
    def credit(self) -> float:
        """What the step earns or costs by itself: RIGHT_CREDIT, WRONG_CREDIT, or 0.

        On every path through a trace only the first wrong step costs something; a step that reads its result gets 0,
        because the error is not its own. Repetitions, unneeded facts and missing steps get 0 too.
        """
        if self.inherited or self.status in (StepStatus.DUPLICATE, StepStatus.MISSING):
            return 0.0
        return RIGHT_CREDIT if self.status is StepStatus.RIGHT else WRONG_CREDIT


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a text's answer is right.

    `answer` is what was found as the answer, None where there is none. `partial` is the credit in [0, 1] that a family
    gives to answers that are nearly right; None where it gives none.
    """

    right: bool
    answer: str | None = None
    partial: float | None = None

    @property
    def score(self) -> float:
        """The graded answer in [0, 1]: 0 or 1 where the family gives no partial credit."""
        return float(self.right) if self.partial is None else self.partial

    @property
    def solved(self) -> bool:
        """What counts as a success wherever one is counted: the whole process if the family judges it."""
        return self.right

    @property
    def answer_status(self) -> AnswerStatus:
        """The answer in one word."""
        if self.right:
            return AnswerStatus.RIGHT
        return AnswerStatus.MISSING if self.answer is None else AnswerStatus.WRONG


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceJudgement(Judgement):
    """The judgement of a text step by step.

    `verified`: every needed step right, nothing false stated, the answer right (the paper's VerifiedCorrect made
    sound). `process_accuracy`: the share of the `needed` steps that are right, in [0, 1] (the paper's ProcessAcc).
    `steps` are the text's steps in order, then the missing ones; `first_error` indexes `steps`. `faults` are errors
    outside any step, in words.
    """

    verified: bool
    process_accuracy: float
    steps: tuple[StepJudgement, ...]
    first_error: int | None
    faults: tuple[str, ...]
    needed: int

    @property
    def solved(self) -> bool:
        """Whether the whole process is verified."""
        return self.verified

    def verify_row(self) -> dict[str, object]:
        """A row of `interplay verify`, without the problem's key."""
        return {
            "verified": self.verified,
            "process_acc": self.process_accuracy,
            "answer": self.answer,
            "answer_status": self.answer_status.value,
            "steps": [_step_row(step) for step in self.steps],
            "first_error": self.first_error,
            "faults": list(self.faults),
        }

    def __str__(self) -> str:
        """The judgement for a person: one line for the whole, one for each step, one for each fault."""
        head = f"{'verified' if self.verified else 'not verified'}, process accuracy {self.process_accuracy:.3f}"
        lines = [f"{head}, answer {self.answer_status.value}{f' ({self.answer})' if self.answer else ''}"]
        for index, step in enumerate(self.steps):
            mark = ">" if index == self.first_error else " "
            lines.append(f"{mark} {step.status.value:13} {step.name}: {step.reason}")
        return "\n".join([*lines, *(f"! {fault}" for fault in self.faults)])


def _step_row(step: StepJudgement) -> dict[str, object]:
    return {
        "node": step.name,
        "status": step.status.value,
        "reason": step.reason,
        "start": step.start,
        "end": step.end,
        "inherited": step.inherited,
    }


def cut(answer: str) -> str:
    """What a judgement shows of an answer of any length."""
    return answer[:MAX_TEXT]


def checked(judgement: object, text: str) -> Judgement:
    """The judgement of the text, if it is one that can be counted.

    Raises BadJudgement: a user's judge may return anything, whatever its fields are declared to be.
    """
    if not isinstance(judgement, Judgement):
        raise BadJudgement(f"the judge returned {_shown(judgement)}: return a verifier.judgement.Judgement")
    _check_truth(judgement.right, "right")
    if judgement.answer is not None:
        _check_text(judgement.answer, "answer", "a text or None")
    if judgement.partial is not None:
        check_share(judgement.partial, "partial")
    if isinstance(judgement, TraceJudgement):
        _check_trace(judgement, text)
    return judgement


def _check_trace(judgement: TraceJudgement, text: str) -> None:
    _check_truth(judgement.verified, "verified")
    check_share(judgement.process_accuracy, "process_accuracy")
    end = 0
    for step in _all_of(judgement.steps, StepJudgement, "steps"):
        _check_step(step, end, len(text))
        end = step.end
    for fault in _all_of(judgement.faults, str, "faults"):
        _check_text(fault, "a fault")
    first = judgement.first_error
    if first is not None and not _is_whole(first, 0, len(judgement.steps) - 1):
        raise BadJudgement(f"first_error is {_shown(first)}: make it None, or the place of one of the steps, from 0")
    if not _is_whole(judgement.needed, 1, None):
        raise BadJudgement(f"needed is {_shown(judgement.needed)}: make it a whole number above 0")
    if judgement.verified:
        _check_verified(judgement)


def _check_verified(judgement: TraceJudgement) -> None:
    if not judgement.right:
        raise BadJudgement("verified is True and right is False: a trace with a wrong answer is not verified")
    if judgement.first_error is not None:
        raise BadJudgement(
            f"verified is True and first_error is {judgement.first_error}: a trace with an error is not verified"
        )
    if judgement.faults:
        raise BadJudgement(
            f"verified is True and faults has {_shown(judgement.faults[0])} in it: a trace with a fault is not verified"
        )


def _check_step(step: StepJudgement, after: int, length: int) -> None:
    """Raises BadJudgement where the step is none, or does not stand between `after` and the end of the text."""
    _check_text(step.name, "the name of a step")
    _check_text(step.reason, "the reason of a step")
    status = cast(object, step.status)
    if not isinstance(status, StepStatus):
        raise BadJudgement(f"the status of a step is {_shown(status)}: make it a verifier.judgement.StepStatus")
    _check_truth(step.inherited, "inherited")
    if not (_is_whole(step.start, after, length) and _is_whole(step.end, step.start, length)):
        raise BadJudgement(
            f"a step stands at {_shown((step.start, step.end))}: make start and end characters of the text, in order, "
            f"from {after}, where the step before it ends, to {length}, where the text ends"
        )


def _check_truth(value: object, name: str) -> None:
    if value is not True and value is not False:
        raise BadJudgement(f"{name} is {_shown(value)}: make it True or False")


def _check_text(value: object, name: str, wanted: str = "a text") -> None:
    if not isinstance(value, str):
        raise BadJudgement(f"{name} is {_shown(value)}: make it {wanted}")
    if len(value) > MAX_TEXT:
        raise BadJudgement(f"{name} has {len(value)} characters: keep to {MAX_TEXT}")


def _all_of(value: object, kind: type[_Part], name: str) -> tuple[_Part, ...]:
    """The value as a tuple of that kind. Raises BadJudgement."""
    wanted = f"make it a tuple of {kind.__name__}"
    if not isinstance(value, tuple):
        raise BadJudgement(f"{name} is {_shown(value)}: {wanted}")
    for part in cast(tuple[object, ...], value):
        if not isinstance(part, kind):
            raise BadJudgement(f"{name} has {_shown(part)} in it: {wanted}")
    return cast(tuple[_Part, ...], value)


def _is_whole(value: object, least: int, most: int | None) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return least <= value and (most is None or value <= most)


def check_share(value: object, name: str) -> float:
    """The value as a number in [0, 1]. Raises BadJudgement: NaN, 2.0, None and True are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or not 0 <= value <= 1:
        raise BadJudgement(f"{name} is {_shown(value)}: make it a number from 0 to 1")
    return float(value)


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}... ({len(text)} characters)"


def to_record(judgement: Judgement) -> dict[str, Any]:
    """The judgement as plain data; `from_record` gives it back."""
    return asdict(judgement)


def from_record(record: Mapping[str, Any]) -> Judgement:
    """The inverse of `to_record`."""
    if "steps" not in record:
        return Judgement(**record)
    steps = tuple(_step(step) for step in record["steps"])
    fields: dict[str, Any] = {**record, "steps": steps, "faults": tuple(record["faults"])}
    return TraceJudgement(**fields)


def _step(record: Mapping[str, Any]) -> StepJudgement:
    fields: dict[str, Any] = {**record, "status": StepStatus(record["status"])}
    return StepJudgement(**fields)
