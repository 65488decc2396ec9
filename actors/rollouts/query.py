"""Which stored rollouts are asked for. Light to import: a command's options are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.rollouts.table import StoredRollout


class Status(StrEnum):
    """What became of a completion: `solved` is verified, or right where steps are not judged."""

    SOLVED = "solved"
    ANSWER = "answer"
    WRONG = "wrong"
    CUT = "cut"

    @classmethod
    def of(cls, row: StoredRollout) -> Status:
        """The status of a row."""
        return cls.judged(row.finish_reason, row.judgement.solved, row.judgement.right)

    @classmethod
    def judged(cls, finish_reason: str, solved: bool, right: bool) -> Status:
        """The status of a completion; one that was cut off earns nothing, whatever it holds."""
        if finish_reason == "length":
            return cls.CUT
        return cls.SOLVED if solved else cls.ANSWER if right else cls.WRONG


@dataclass(frozen=True, slots=True)
class Query:
    """Rows with these values on the axes of their stratum, and this status."""

    axes: Mapping[str, str]
    status: Status | None

    def fits(self, row: StoredRollout) -> bool:
        """Whether a row is one of them."""
        axes = {axis: str(value) for axis, value in row.address.stratum.axes}
        return self.axes.items() <= axes.items() and self.status in (None, Status.of(row))
