"""What a fleet tells of itself. Light to import: whoever asks a live run loads no model code."""

from __future__ import annotations

from dataclasses import dataclass

from actors.workers.states import State


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as `status` shows it. `failures` counts the recent losses of its slot, `cause` names the last one."""

    kind: str
    name: str
    state: State
    pid: int | None
    weight_version: int | None
    open: int
    failures: int
    cause: str | None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The workers, and what the fleet has counted since it began."""

    workers: tuple[WorkerStatus, ...]
    weight_version: int | None
    rollout_restarts: int
    reward_restarts: int
    resent_groups: int
    verifier_errors: int
    refused_weights: int
    parity_max_abs_diff: float
