"""A task whose judge misbehaves as its item says, as a user's own or a symbolic checker may."""

import time
from collections.abc import Callable

from verifier.families import TaskConfig
from verifier.judgement import MAX_TEXT, Judgement, TraceJudgement
from verifier.task import Item, Task


def _hang() -> Judgement:
    while True:
        time.sleep(1)


def _raise() -> Judgement:
    raise ZeroDivisionError("of the judge")


def _verified(value: object, first_error: int | None = None) -> Judgement:
    return TraceJudgement(
        right=True,
        verified=value,  # pyright: ignore[reportArgumentType]
        process_accuracy=1.0,
        steps=(),
        first_error=first_error,
        faults=(),
        needed=1,
    )


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "raises": (_raise, "ZeroDivisionError: of the judge"),
    "leaves": (lambda: exit(3), "SystemExit: 3"),
    "says nothing": (lambda: None, "the judge returned None"),
    "says NaN": (lambda: Judgement(right=False, partial=float("nan")), "partial is nan"),
    "says 2.0": (lambda: Judgement(right=True, partial=2.0), "partial is 2.0"),
    "says 1 for right": (lambda: Judgement(right=1), "right is 1"),  # pyright: ignore[reportArgumentType]
    "says too much": (lambda: Judgement(right=True, answer="x" * (MAX_TEXT + 1)), f"keep to {MAX_TEXT}"),
    "says 50 for verified": (lambda: _verified(50.0), "verified is 50.0"),
    "says NaN for verified": (lambda: _verified(float("nan")), "verified is nan"),
    "points at no step": (lambda: _verified(True, first_error=7), "first_error is 7"),
    "hangs": (_hang, "gave no judgement in"),
}
"""What a judge does, and what is told of it."""


class Misbehaving(TaskConfig, frozen=True):
    """Settings and task in one: nothing but a judge, which does what an item's id says."""

    family: str = "misbehaving"

    def task(self) -> Task:
        return self  # pyright: ignore[reportReturnType]

    def judge(self, item: Item, text: str) -> Judgement:
        return FAULTS[item.id][0]()  # pyright: ignore[reportReturnType]
