"""Dashboards outside the run folder: its events as TensorBoard files or in Weights & Biases.

`metrics.jsonl` is the record; everything here is written from it, and written again when a run is resumed.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from actors.telemetry import read_events
from cluster.recipe.config import Tracker
from verifier.errors import UserError

EVERY_S: Final = 5.0
STEP_OF: Final = {"rl_step": "step", "pretrain_step": "step", "sync": "weight_version"}
"""The events that are plotted, each with the field that gives its place on the x-axis."""


class Dashboards:
    """Follows a run's event log; without trackers it does nothing. Raises UserError if a tracker is not installed."""

    def __init__(self, run: str, folder: Path, trackers: tuple[Tracker, ...]) -> None:
        makers = {"tensorboard": _TensorBoard, "wandb": _Wandb}
        self._boards: list[_Board] = [makers[name](run, folder) for name in trackers]
        self._events = folder / "metrics.jsonl"
        self._written = 0
        self._written_at = -math.inf

    def catch_up(self) -> None:
        """Write the new events of the log, at most every few seconds."""
        if self._boards and time.monotonic() - self._written_at >= EVERY_S:
            self._write()

    def close(self) -> None:
        """Write the rest and close."""
        self._write()
        for board in self._boards:
            board.close()

    def _write(self) -> None:
        events = list(read_events(self._events)) if self._boards else []
        for event in events[self._written :]:
            if event["event"] in STEP_OF:
                for board in self._boards:
                    board.log(event[STEP_OF[event["event"]]], event["time"], _scalars(event))
        self._written, self._written_at = len(events), time.monotonic()


class _Board(Protocol):
    def log(self, step: int, wall_s: float, scalars: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    """Event files in the run folder's `tensorboard/`."""

    def __init__(self, run: str, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        files = folder / "tensorboard"
        shutil.rmtree(files, ignore_errors=True)  # or the steps that a resumed run redoes would be there twice
        self._writer = SummaryWriter(logdir=str(files), flush_secs=10)

    def log(self, step: int, wall_s: float, scalars: Mapping[str, float]) -> None:
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, step, wall_s)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of the project `interplay`; a resumed run becomes a new one, written from its first step."""

    def __init__(self, run: str, folder: Path) -> None:
        if find_spec("wandb") is None:
            raise UserError("The recipe asks for the tracker wandb, which is not installed.", "pip install wandb")
        import wandb  # pyright: ignore[reportMissingImports]  # an extra

        self._run = wandb.init(project="interplay", name=run, dir=folder)
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, wall_s: float, scalars: Mapping[str, float]) -> None:
        self._run.log({"step": step, **scalars})

    def close(self) -> None:
        self._run.finish()


def _scalars(event: Mapping[str, Any]) -> dict[str, float]:
    group = event["stage"] if event["event"] != "sync" else f"{event['stage']}-sync-{event['worker'].partition('.')[0]}"
    numbers = {
        k: v for k, v in event.items() if isinstance(v, int | float) and k not in ("time", "step", "weight_version")
    }
    return {f"{group}/{name}": float(value) for name, value in numbers.items() if math.isfinite(value)}
