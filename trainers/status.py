"""What a run tells of itself, and its controller's name. Light to import: who asks a live run loads no model code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.workers.status import FleetStatus


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Where a live run stands: its stage, how far it is, the last numbers it told, and its workers if it has any.

    `warnings` is what went wrong in the stage so far and did not stop it; `waits_for` says what keeps it from going on,
    where that is known.
    """

    stage: str
    done: int
    total: int
    numbers: dict[str, float]
    warnings: tuple[str, ...]
    fleet: FleetStatus | None
    waits_for: str = ""


def controller_name(run_dir: Path) -> str:
    """The name of a run's controller among Ray's named actors: by the whole path, as names may be the same."""
    return f"controller:{run_dir.resolve()}"
