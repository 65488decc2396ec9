"""Limits how often a process may die and be restarted without progress in between."""

from __future__ import annotations

from typing import Final

MAX_DEATHS: Final = 8  # of a learner or a controller, without progress between them


class DeathLimit:
    """Counts deaths without progress between them; up to `most` are allowed."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.furthest = 0
        self.deaths = 0

    def reached(self, done: int) -> None:
        """Report how far the work is; if that is further than before, the count of deaths starts again."""
        if done > self.furthest:
            self.furthest, self.deaths = done, 0

    def one_too_many(self) -> bool:
        """Count a death; returns whether it is one more than allowed."""
        self.deaths += 1
        return self.deaths > self.most
