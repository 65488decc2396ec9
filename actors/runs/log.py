"""The event log of a run, read once and then as it grows: what was appended since the last look is taken in.

It reads only `metrics.jsonl`, so it works on a live run, a finished one and a copied folder, of any version: what an
event lacks is missing from the curves, and a line that cannot be understood is counted and left out.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from actors.diagnosis.findings import Finding, diagnose
from actors.runs.series import Series, finite
from verifier.errors import Failure

EVENTS: Final = "metrics.jsonl"
CURVES: Final = (
    *("reward", "strict", "outcome", "process_accuracy", "completion_tokens", "truncated", "no_gradient"),
    *("all_solved", "distinct", "verifier_errors", "completions", "updates", "loss", "kl", "entropy", "clip_fraction"),
    *("mismatch_mean", "mismatch_max", "effective_share", "capped_share", "masked_share", "lag_mean"),
    *("gradient_norm", "learning_rate", "skipped", "generate_s", "learn_s", "sync_s", "step_s", "tokens_per_s"),
)
"""The numbers of a step that become curves; docs/metrics.md has their meanings and units."""
NOTED: Final = ("resumed", "learner_lost", "save_failed", "deletion_failed", "rollouts_lost", "scale", "checkpoint")
_KINDS: Final[Mapping[str, Kind]] = {"rl_step": "rl", "pretrain_step": "training"}
_BLOCK: Final = 1 << 20

Kind = Literal["rl", "training"]


class RunGone(Failure):
    """The folder of the run, or the log that was there before, does not exist any more."""


@dataclass(slots=True)
class StageCurves:
    """The steps of one stage: their numbers, the curriculum's by stratum, and the evaluations between them."""

    name: str
    kind: Kind
    total: int = 0
    began: float = 0.0
    ended: float = 0.0
    numbers: Series = field(default_factory=Series)
    pass_rates: Series = field(default_factory=Series)
    shares: Series = field(default_factory=Series)
    evaluations: Series = field(default_factory=Series)

    def take(self, event: Mapping[str, Any]) -> None:
        """Add a step. Raises KeyError, TypeError, OverflowError for an event that is none."""
        step = event["step"]
        self.numbers.put(step, {name: event[name] for name in CURVES if name in event})
        strata = event.get("strata") or {}
        self.pass_rates.put(step, {name: stratum.get("pass_rate") for name, stratum in strata.items()})
        self.shares.put(step, {name: stratum.get("share") for name, stratum in strata.items()})
        self.total = int(event.get("steps") or step)
        self.ended = float(event["time"])
        self.began = self.began or self.ended

    def evaluated(self, event: Mapping[str, Any]) -> None:
        """Add an evaluation between two steps."""
        self.evaluations.put(event["step"], {name: value for name, value in event.items() if "pass@" in name})

    def events(self) -> Iterator[dict[str, Any]]:
        """The steps as the diagnosis reads them."""
        for place, step in enumerate(self.numbers.steps):
            row = {name: _plain(value) for name, value in self.numbers.row(place).items()}
            yield {"event": "rl_step", "stage": self.name, "step": step, **row}


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A rollout worker by its last weight update: the version it took, when, and how long generation stood still."""

    name: str
    weight_version: int
    time: float
    pause_s: float | None
    parity_max_abs_diff: float | None


class RunLog:
    """What the log of one run has told so far. `version` grows with every event that is taken in."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self.version = 0
        self._file: tuple[int, int] | None = None  # device and inode of the log that is read
        self._clear()

    def _clear(self) -> None:
        self._position = 0
        self.stages: dict[str, StageCurves] = {}
        self.workers: dict[str, WorkerSeen] = {}
        self.counters: dict[str, int] = {}
        self.noted: Counter[str] = Counter()
        self.left_out = 0
        self.updated: float | None = None

    def read(self) -> None:
        """Take in what was appended; another file, or one shorter than before, is read anew. Raises RunGone."""
        try:
            with (self._run_dir / EVENTS).open("rb") as file:
                self._begin(file)
                for line in self._lines(file):
                    self._take(line)
        except FileNotFoundError:
            if self._file is not None or not self._run_dir.is_dir():
                self._file = None
                self._clear()
                raise RunGone("its folder or its metrics.jsonl does not exist any more") from None

    def findings(self) -> list[Finding]:
        """What went wrong in its RL stages."""
        return diagnose(event for stage in self.stages.values() if stage.kind == "rl" for event in stage.events())

    def _begin(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        found = status.st_dev, status.st_ino
        if found != self._file or status.st_size < self._position:
            self._clear()
            self._file = found
            self.version += 1
        file.seek(self._position)

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        """Whole lines after the last one read; the beginning of one that is being written waits for its end."""
        for line in file:
            if not line.endswith(b"\n"):
                return
            self._position += len(line)
            yield line

    def _take(self, line: bytes) -> None:
        self.version += 1
        try:
            event = json.loads(line)
            self._sort(event)
            self.updated = float(event["time"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            self.left_out += 1

    def _sort(self, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "rl_step" | "pretrain_step" as name:
                self._stage(event["stage"], _KINDS[name]).take(event)
            case "rl_eval":
                self._stage(event["stage"], "rl").evaluated(event)
            case "sync":
                self._synced(event)
            case "fleet":
                self.counters = {k: v for k, v in event.items() if type(v) is int}
            case name if name in NOTED:
                self.noted[name] += 1

    def _stage(self, name: str, kind: Kind) -> StageCurves:
        return self.stages.setdefault(str(name), StageCurves(str(name), kind))

    def _synced(self, event: Mapping[str, Any]) -> None:
        name = str(event["worker"])
        slot = name.partition(".")[0]
        self.workers[slot] = WorkerSeen(
            name,
            int(event["weight_version"]),
            float(event["time"]),
            finite(event.get("pause_s")),
            finite(event.get("parity_max_abs_diff")),
        )


def _plain(value: float | None) -> float | None:
    """A number as JSON had it: counts are integers, also in the words of a finding."""
    return value if value is None or not value.is_integer() else int(value)
