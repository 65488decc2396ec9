"""Other people's dashboards: the run's events as TensorBoard files, and through them in Weights & Biases.

`metrics.jsonl` stays the record; what is written here can be made again from it, and is, when a run is resumed.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from actors.telemetry import read_events
from cluster.errors import UserError

Tracker = Literal["tensorboard", "wandb"]
EVERY_S: Final = 5.0
STEP_OF: Final = {"rl_step": "step", "pretrain_step": "step", "sync": "version"}
"""The events that have a place on an axis, and the field that holds it."""


class Dashboards:
    """Follows a run's event log; without trackers it does nothing."""

    def __init__(self, run: str, folder: Path, trackers: tuple[Tracker, ...]) -> None:
        self._events = folder / "metrics.jsonl"
        self._told = 0
        self._told_at = -math.inf
        self._writer: Any = None
        self._wandb: Any = None
        if "wandb" in trackers:
            self._wandb = _start_wandb(run, folder)
        if trackers:
            from tensorboardX import SummaryWriter

            files = folder / "tensorboard"
            shutil.rmtree(files, ignore_errors=True)  # steps that a resumed run redoes would be told twice
            self._writer = SummaryWriter(logdir=str(files))

    def catch_up(self) -> None:
        """Write what the log has gained, at most every few seconds."""
        if self._writer is not None and time.monotonic() - self._told_at >= EVERY_S:
            self._write()

    def close(self) -> None:
        """Write the rest and end."""
        if self._writer is not None:
            self._write()
            self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()

    def _write(self) -> None:
        events = list(read_events(self._events))
        for event in events[self._told :]:
            if event["event"] in STEP_OF:
                for tag, value in _scalars(event):
                    self._writer.add_scalar(tag, value, event[STEP_OF[event["event"]]], event["time"])
        self._told, self._told_at = len(events), time.monotonic()
        self._writer.flush()


def _scalars(event: Mapping[str, Any]) -> list[tuple[str, float]]:
    group = event["stage"] if event["event"] != "sync" else f"{event['stage']}-sync-{event['worker'].partition('.')[0]}"
    numbers = {k: v for k, v in event.items() if isinstance(v, int | float) and k not in ("time", "step", "version")}
    return [(f"{group}/{name}", float(value)) for name, value in numbers.items() if math.isfinite(value)]


def _start_wandb(run: str, folder: Path) -> Any:
    if find_spec("wandb") is None:
        raise UserError("The recipe asks for the tracker wandb, which is not installed.", "pip install wandb")
    import wandb  # pyright: ignore[reportMissingImports]  # an extra

    return wandb.init(project="interplay", name=run, dir=folder, sync_tensorboard=True)
