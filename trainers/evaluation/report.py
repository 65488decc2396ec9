"""The numbers of a run's report, `report.json`; how they look to a person is `trainers.evaluation.page`.

Pure arithmetic over what the stages left in the run folder; nothing is sampled or loaded here. Every interval is a 95%
bootstrap over problems, paired where two evaluations are compared.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.telemetry import read_events
from trainers.evaluation.evaluate import Evaluation, ProblemScore, curve, gain, interval, powers
from trainers.evaluation.ledger import StageRecord, paper_tokens

BOOTSTRAP_SEED = 0  # intervals are part of the record: the same scores give the same interval


@dataclass(frozen=True, slots=True)
class Bands:
    """The difficulty bands of a recipe, inclusive op ranges, and the one that RL is meant to move."""

    ranges: dict[str, tuple[int, int]]
    target: str

    def ops(self, band: str) -> list[int]:
        """The ops of one band."""
        low, high = self.ranges[band]
        return list(range(low, high + 1))


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All that a report is computed from."""

    name: str
    recipe: dict[str, Any]
    recipe_text: str
    bands: Bands
    stages: tuple[StageRecord, ...]
    before: Evaluation | None
    after: Evaluation | None
    events: tuple[dict[str, Any], ...]


def summary(run: RunRecord) -> dict[str, Any]:
    """The content of `report.json`."""
    syncs = [e for e in run.events if e["event"] == "sync"]
    counters = [e for e in run.events if e["event"] == "fleet"]
    return {
        "run": run.name,
        "seed": run.recipe["seed"],
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "processor": platform.machine(),
        },
        "wall_s": sum(s.seconds for s in run.stages),
        "stages": [asdict(s) | {"paper_tokens": _paper_tokens(run, s)} for s in run.stages],
        "eval": {name: _per_op(e) for name, e in (("before", run.before), ("after", run.after)) if e is not None},
        "bands": {band: _band(run, band) for band in run.bands.ranges},
        "gain": _gain(run, run.bands.ops(run.bands.target)) if run.before and run.after else None,
        "rollout": {
            "restarts": counters[-1]["rollout_restarts"] if counters else 0,
            "resent_groups": counters[-1]["resent_groups"] if counters else 0,
            "verifier_errors": counters[-1]["verifier_errors"] if counters else 0,
        },
        "sync": {
            "count": len(syncs),
            "parity_max_abs_diff": max((e["parity_max_abs_diff"] for e in syncs), default=None),
            "pause_s_max": max((e["pause_s"] for e in syncs), default=None),
        },
    }


def _paper_tokens(run: RunRecord, stage: StageRecord) -> float:
    """A stage in the unit in which the paper compares mid-training with RL: tokens trained on, or their equivalent."""
    steps = [e for e in run.events if e["event"] == "rl_step" and e["stage"] == stage.name]
    if steps:
        return paper_tokens(sum(e["completions"] for e in steps), max(e["longest"] for e in steps))
    return stage.tokens if stage.kind in ("pretrain", "midtrain") else 0


def _per_op(evaluation: Evaluation) -> dict[str, Any]:
    return {str(op): _cell(evaluation.ops([op])) for op in sorted({s.op for s in evaluation.scores})}


def _cell(scores: Sequence[ProblemScore]) -> dict[str, Any]:
    return {
        "n_problems": len(scores),
        "n_samples": min(s.samples for s in scores),
        "outcome": curve(scores, "outcome"),
        "strict": curve(scores, "strict"),
        "process_accuracy": sum(s.process_accuracy for s in scores) / len(scores),
    }


def _band(run: RunRecord, band: str) -> dict[str, Any]:
    ops = run.bands.ops(band)
    found: dict[str, Any] = {"ops": ops}
    for name, evaluation in (("before", run.before), ("after", run.after)):
        if evaluation is not None and (scores := evaluation.ops(ops)):
            found[name] = {
                kind: {f"pass@{k}": asdict(interval(scores, kind, k, BOOTSTRAP_SEED)) for k in _ks(scores)}
                for kind in ("outcome", "strict")
            }
    if "before" in found and "after" in found:
        found["gain"] = _gain(run, ops)
    return found


def _gain(run: RunRecord, ops: Sequence[int]) -> dict[str, Any]:
    assert run.before is not None
    assert run.after is not None
    before, after = run.before.ops(ops), run.after.ops(ops)
    return {
        f"{kind}_pass@{k}": asdict(gain(before, after, kind, k, BOOTSTRAP_SEED))
        for kind in ("strict", "outcome")
        for k in _ks([*before, *after])
    }


def _ks(scores: Sequence[ProblemScore]) -> list[int]:
    return powers(min(s.samples for s in scores))


def events_of(run_dir: Path) -> tuple[dict[str, Any], ...]:
    """The run's events; of a step that was redone after a resume only the last record counts."""
    latest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, event in enumerate(read_events(run_dir / "metrics.jsonl")):
        stepped = event["event"] in ("rl_step", "pretrain_step")
        key = (event["event"], event["stage"], event["step"]) if stepped else (number,)
        latest.pop(key, None)
        latest[key] = dict(event)
    return tuple(latest.values())
