"""The status of a live run, and the name of its controller. Light to import, so that asking loads no model code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.workers.status import FleetStatus


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of a live run: its stage, how far it is, its last numbers, and its workers if it has any.

    `warnings` are the faults so far that did not stop the stage; `waits_for` says what the stage waits for, if known.
    """

    stage: str
    done: int
    total: int
    numbers: dict[str, float]
    warnings: tuple[str, ...]
    fleet: FleetStatus | None
    waits_for: str = ""


def controller_name(run_dir: Path) -> str:
    """The name of a run's controller among Ray's actors. It has the whole path, since runs may have the same name."""
    return f"controller:{run_dir.resolve()}"
