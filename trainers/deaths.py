"""When deaths of a process are too many: those that come one after another while the work gets no further."""

from __future__ import annotations

from typing import Final

MAX_DEATHS: Final = 8  # of a learner or a controller, without getting further between them


class DeathLimit:
    """Counts deaths without progress between them; `most` of them are borne."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.furthest = 0
        self.deaths = 0

    def reached(self, done: int) -> None:
        """The work got so far; if that is further than ever, what died before is forgotten."""
        if done > self.furthest:
            self.furthest, self.deaths = done, 0

    def one_too_many(self) -> bool:
        """Count a death; whether it is one more than can be borne."""
        self.deaths += 1
        return self.deaths > self.most
