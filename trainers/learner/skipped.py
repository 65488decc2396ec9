"""Ends a stage whose updates are skipped because loss or gradient is not finite.

The learner skips such an update and counts it. One may be chance; after many in a row the stage ends, since the policy
will not recover.
"""

from __future__ import annotations

from typing import Final

from trainers.records import StepReport
from verifier.errors import Failure

MAX_SKIPPED: Final = 10  # steps in a row


class NotFinite(Failure):
    """Too many steps in a row had a gradient that is not finite; the last checkpoint is the last good state."""


class SkipLimit:
    """Counts the steps in a row that skipped an update."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def see(self, report: StepReport) -> None:
        """Count a step. Raises NotFinite when there are too many in a row."""
        self._in_a_row = self._in_a_row + 1 if report.skipped else 0
        if self._in_a_row > MAX_SKIPPED:
            raise NotFinite(f"{self._in_a_row} steps in a row had no finite gradient; lower the learning rate")
