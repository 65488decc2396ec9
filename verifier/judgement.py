"""The verdict on a trace: what each step claimed, whether it holds, and where it stands in the text.

A verdict is data. It is made by `verifier.graphs.judge.judge` and turned into numbers by `verifier.rewards`; it never
holds an exception (a verifier fault is raised, so that it can never pass for a wrong trace).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class StepStatus(StrEnum):
    """What became of one step, or of one gold quantity that no step derives."""

    RIGHT = "right"
    WRONG_VALUE = "wrong value"
    WRONG_OPERAND = "wrong operand"
    TOO_EARLY = "too early"
    DUPLICATE = "duplicate"
    INVENTED = "invented"
    MISSING = "missing"


class AnswerStatus(StrEnum):
    """What became of the final answer."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"


class StepVerdict(NamedTuple):
    """One step: the quantity it defines, its status, the reason in words, its span in characters [start, end).

    A MISSING quantity has no text: start == end == length of the text judged. `inherited` says that the step reads,
    directly or not, the result of a wrong step: what it got wrong may not be its own doing.
    """

    node: str
    status: StepStatus
    reason: str
    start: int
    end: int
    inherited: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one text against one problem.

    `verified` is the paper's VerifiedCorrect made sound: every needed step right, nothing false stated, answer right.
    `process_accuracy` is the paper's ProcessAcc: the share of gold quantities derived rightly, in [0, 1]; `quantities`
    is how many gold quantities there are.
    `steps` are the text's steps in order, then the missing quantities; `first_error` indexes `steps`.
    `faults` are errors outside any step (the closing equations, the answer), in words.
    """

    verified: bool
    process_accuracy: float
    answer: str | None
    answer_status: AnswerStatus
    steps: tuple[StepVerdict, ...]
    first_error: int | None
    faults: tuple[str, ...]
    quantities: int

    @property
    def outcome(self) -> bool:
        """Whether the final answer is right, whatever the trace."""
        return self.answer_status is AnswerStatus.RIGHT

    def to_record(self) -> dict[str, object]:
        """The verdict as plain data: a row of `interplay verify`, without the problem's key."""
        return {
            "verified": self.verified,
            "process_acc": self.process_accuracy,
            "answer": self.answer,
            "answer_status": self.answer_status.value,
            "steps": [step._asdict() | {"status": step.status.value} for step in self.steps],
            "first_error": self.first_error,
            "faults": list(self.faults),
        }

    def __str__(self) -> str:
        """The verdict for a person: one line for the whole, one for each step, one for each fault."""
        head = f"{'verified' if self.verified else 'not verified'}, process accuracy {self.process_accuracy:.3f}"
        lines = [f"{head}, answer {self.answer_status.value}{f' ({self.answer})' if self.answer else ''}"]
        for index, step in enumerate(self.steps):
            mark = ">" if index == self.first_error else " "
            lines.append(f"{mark} {step.status.value:13} {step.node}: {step.reason}")
        return "\n".join([*lines, *(f"! {fault}" for fault in self.faults)])
