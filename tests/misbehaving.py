"""A task whose judge misbehaves as its item says, as a user's own or a symbolic checker may."""

import time
from collections.abc import Callable

from verifier.families import TaskConfig
from verifier.judgement import MAX_ANSWER, Judgement
from verifier.task import Item, Task


def _hang() -> Judgement:
    while True:
        time.sleep(1)


def _raise() -> Judgement:
    raise ZeroDivisionError("of the judge")


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "raises": (_raise, "ZeroDivisionError: of the judge"),
    "leaves": (lambda: exit(3), "SystemExit: 3"),
    "says nothing": (lambda: None, "the judge returned None"),
    "says NaN": (lambda: Judgement(right=False, partial=float("nan")), "partial is nan"),
    "says 2.0": (lambda: Judgement(right=True, partial=2.0), "partial is 2.0"),
    "says 1 for right": (lambda: Judgement(right=1), "right is 1"),  # pyright: ignore[reportArgumentType]
    "says too much": (lambda: Judgement(right=True, answer="x" * (MAX_ANSWER + 1)), f"keep to {MAX_ANSWER}"),
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
