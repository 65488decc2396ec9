"""When to stop a stage whose steps are skipped because loss or gradient is not finite.

The learner leaves such an update out and counts it; one is bad luck, many in a row are a policy past saving.
"""

from __future__ import annotations

from typing import Final

from trainers.records import StepReport
from verifier.errors import Failure

MAX_SKIPPED: Final = 10  # steps in a row


class NotFinite(Failure):
    """Too many steps in a row had no finite gradient; the last checkpoint is the last good state."""


class SkipLimit:
    """Counts the steps in a row that left an update out."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def see(self, report: StepReport) -> None:
        """Take note of a step. Raises NotFinite when it is one too many."""
        self._in_a_row = self._in_a_row + 1 if report.skipped else 0
        if self._in_a_row > MAX_SKIPPED:
            raise NotFinite(f"{self._in_a_row} steps in a row had no finite gradient; lower the learning rate")
