"""Run folders without a run: a `metrics.jsonl` of any number of steps as a stage of a healthy run writes it, the files
of a live run, and a control that notes what a run is asked.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.runs.live import LIVE, STOPPING
from serving.runs.control import NotTaken


def step_event(step: int, steps: int, stage: str = "rl", **numbers: Any) -> dict[str, Any]:
    """One `rl_step` whose numbers move slowly."""
    share = 1 - math.exp(-3 * step / steps)
    wave = 0.02 * math.sin(step / 7)
    return {
        "event": "rl_step",
        "time": 1.7e9 + step,
        "stage": stage,
        "step": step,
        "steps": steps,
        "updates": step,
        "reward": 0.2 + 0.5 * share + wave,
        "strict": 0.2 + 0.5 * share + wave,
        "outcome": 0.3 + 0.5 * share + wave,
        "process_accuracy": 0.5 + 0.4 * share,
        "completion_tokens": 60 + 10 * share + wave,
        "truncated": 0.02,
        "no_gradient": 0.3 + 0.2 * share,
        "all_solved": 0.2,
        "distinct": 0.9,
        "verifier_errors": 0,
        "completions": 384,
        "loss": 0.001,
        "kl": 0.002 * share,
        "entropy": 0.4 - 0.1 * share,
        "clip_fraction": 0.01,
        "mismatch_mean": 1e-7,
        "mismatch_max": 2e-5,
        "effective_share": 0.98,
        "capped_share": 0.0,
        "masked_share": 0.0,
        "lag_mean": 0.5,
        "gradient_norm": 0.05 + wave / 2,
        "learning_rate": 4e-4,
        "skipped": 0,
        "generate_s": 19.0 + wave,
        "learn_s": 7.4,
        "sync_s": 0.6,
        "step_s": 27.2,
        "strata": {
            f"op={op}": {"share": 0.5, "pass_rate": 0.3 + 0.1 * op / 5 * share, "samples": 160, "solved": 60}
            for op in (4, 5)
        },
        **numbers,
    }


def sync_event(step: int, worker: str = "rollout-0.1") -> dict[str, Any]:
    """One worker's weight update."""
    numbers = {"fetch_s": 0.01, "load_s": 0.1, "pause_s": 0.15, "parity_s": 0.1, "parity_max_abs_diff": 5e-6}
    return {
        "event": "sync",
        "time": 1.7e9 + step,
        "stage": "rl",
        "weight_version": step,
        "worker": worker,
        **numbers,
    }


def append(run_dir: Path, *events: dict[str, Any]) -> None:
    """Add events to the log of a run; the folder is made."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def write_run(run_dir: Path, steps: int) -> Path:
    """A healthy RL stage of so many steps."""
    append(run_dir, *(step_event(step, steps) for step in range(1, steps + 1)), sync_event(steps))
    return run_dir


def worker_told(name: str, state: str = "ready", weight_version: int | None = 5, failures: int = 0) -> dict[str, Any]:
    """A worker as a live run tells of it."""
    told = {"kind": name.partition("-")[0], "name": name, "state": state, "pid": 7, "weight_version": weight_version}
    return {**told, "open": 0, "failures": failures, "cause": None}


def tell_live(run_dir: Path, *workers: dict[str, Any], ago: float = -600.0) -> None:
    """The file of a live run in its RL stage, as of `ago` seconds (of the future, so that a slow test finds it live).

    Without workers it has no fleet yet.
    """
    fleet = {"workers": workers, "weight_version": 5, "rollout_restarts": 1, "reward_restarts": 0, "resent_groups": 0}
    at = {"time": time.time() - ago, "stage": "rl", "done": 5, "total": 40, "numbers": {}, "warnings": []}
    told = json.dumps({**at, "fleet": fleet if workers else None, "waits_for": ""})
    beside = run_dir / ".live"
    beside.write_text(told)
    beside.rename(run_dir / LIVE)


@dataclass
class NotedControl:
    """A `RunControl` that notes what it is asked, and refuses with `refusal` if there is one."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    refusal: str | None = None

    def scale(self, run_dir: Path, rollout_workers: int | None, reward_workers: int | None) -> None:
        self._take("scale", run_dir.name, rollout_workers, reward_workers)

    def stop(self, run_dir: Path) -> None:
        self._take("stop", run_dir.name)
        (run_dir / STOPPING).touch()

    def _take(self, *asked: Any) -> None:
        self.asked.append(asked)
        if self.refusal:
            raise NotTaken(self.refusal)
