"""What the server asks of a live run. How a run is reached is known to `cluster`, which injects it (decision 0193)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from verifier.errors import Failure


class NotTaken(Failure):
    """The run did not take what it was asked; the message says why, and holds no path."""


class RunControl(Protocol):
    """Reaches the live run of a folder. Its methods wait for the run's answer, so call them in a thread."""

    def scale(self, run_dir: Path, rollout_workers: int | None, reward_workers: int | None) -> None:
        """Change the numbers of workers that are given; returns when the run has taken them. Raises NotTaken."""
        ...

    def stop(self, run_dir: Path) -> None:
        """Ask it to save and end, once however often this is called; does not wait for the end. Raises NotTaken."""
        ...
