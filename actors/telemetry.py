"""What a run says about itself: one table of metric names, and the event log.

`metrics.jsonl` is the truth; Ray's metrics, which Prometheus scrapes, mirror the counts worth a live graph. Nothing
here decides anything, and a log that cannot be written never stops a run.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from verifier.errors import UserError

if TYPE_CHECKING:
    from ray.util.metrics import Counter, Gauge


class EventLogError(UserError):
    """An event log with a damaged line; the message names it."""

    fix = "Take that line out of the file, or copy the file again from where it is whole."


@dataclass(frozen=True, slots=True)
class Metric:
    """One exported number. `labels` are its dimensions."""

    name: str
    kind: Literal["counter", "gauge"]
    description: str
    labels: tuple[str, ...] = ()


METRICS: Final = (
    Metric("interplay_workers", "gauge", "Workers by kind and state", ("kind", "state")),
    Metric("interplay_worker_restarts_total", "counter", "Workers lost and replaced", ("kind",)),
    Metric("interplay_groups_resent_total", "counter", "Groups sent again because their worker was lost"),
    Metric("interplay_completions_total", "counter", "Completions judged"),
    Metric("interplay_tokens_generated_total", "counter", "Tokens of judged completions"),
    Metric("interplay_verifier_errors_total", "counter", "Completions that the verifier failed on"),
    Metric("interplay_weight_version", "gauge", "The version that ready workers hold"),
    Metric("interplay_sync_seconds", "gauge", "The last weight update, fetch to parity", ("worker",)),
    Metric("interplay_generation_pause_seconds", "gauge", "How long the last update stopped generation", ("worker",)),
    Metric("interplay_parity_max_abs_diff", "gauge", "Learner against engine, nats per token", ("worker",)),
    Metric("interplay_weights_refused_total", "counter", "Weight versions that a worker refused to load"),
)
"""Every metric that an actor may export; dashboards are made from this table."""


class Meters:
    """The metrics of METRICS in this process, created on first use. Without Ray they go nowhere."""

    def __init__(self) -> None:
        self._table = {metric.name: metric for metric in METRICS}
        self._live: dict[str, Counter | Gauge] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Raise a counter."""
        meter = self._meter(name, "counter")
        if meter is not None and amount > 0:
            meter.inc(amount, labels)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        meter = self._meter(name, "gauge")
        if meter is not None:
            meter.set(value, labels)

    def _meter(self, name: str, kind: Literal["counter", "gauge"]) -> Any:
        import ray

        metric = self._table[name]
        assert metric.kind == kind, f"{name} is a {metric.kind}"
        if not ray.is_initialized():
            return None
        if name not in self._live:
            from ray.util.metrics import Counter, Gauge

            made = Counter if kind == "counter" else Gauge
            self._live[name] = made(name, metric.description, tag_keys=metric.labels)
        return self._live[name]


class EventLog:
    """Appends one JSON object per line to a file that readers may follow and other processes may append to.

    Each event is one write to the operating system, under a lock on the file, so a kill of this process loses nothing
    and no two events mix. A write that fails is undone and otherwise ignored: a full disk must not end a run.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with self._alone():
            os.ftruncate(self._file, _whole_bytes(path))  # what a torn write of an earlier process left

    def write(self, event: str, **fields: Any) -> None:
        """Append an event with the wall clock in seconds (`time`).

        The fields must be plain JSON values; a number that is not finite, which JSON cannot express, becomes null.
        """
        record = {"event": event, "time": round(time.time(), 3), **_finite(fields)}
        data = (json.dumps(record, allow_nan=False) + "\n").encode()
        with self._alone(), suppress(OSError):
            end = os.fstat(self._file).st_size
            if os.pwrite(self._file, data, end) < len(data):
                os.ftruncate(self._file, end)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Write nothing more."""
        os.close(self._file)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(path: Path) -> Iterator[Mapping[str, Any]]:
    """The events of a log in order, up to its last whole line; nothing if there is no file.

    Raises EventLogError for a damaged line before the last.
    """
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise EventLogError(f"{path}: line {number} is no JSON object: {error}") from error


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


def _whole_bytes(path: Path) -> int:
    """The length of the file up to its last line end."""
    data = path.read_bytes()
    return data.rfind(b"\n") + 1
