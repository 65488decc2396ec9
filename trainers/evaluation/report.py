"""The numbers of a run's report, `report.json`; `trainers.evaluation.page` makes the page from them.

Pure arithmetic on the files that the stages wrote into the run folder; nothing is sampled or loaded here. Every
interval is a 95% bootstrap over problems, paired where two evaluations are compared.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.diagnosis.findings import diagnose
from actors.telemetry import read_events
from trainers.evaluation.bands import Bands
from trainers.evaluation.change import changed_problems, changes
from trainers.evaluation.evaluate import Evaluation, ProblemScore, asked, curve, gain, interval, kinds, powers
from trainers.evaluation.ledger import StageRecord
from verifier.families import TaskConfig
from verifier.task import labels

BOOTSTRAP_SEED = 0  # intervals are part of the record: the same scores give the same interval


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All that a report is computed from."""

    name: str
    recipe: dict[str, Any]
    recipe_text: str
    task: TaskConfig | None
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
        "stages": [asdict(s) for s in run.stages],
        "findings": [asdict(finding) | {"line": finding.line} for finding in diagnose(run.events)],
        "learning": {stage: _learning(steps) for stage, steps in _rl_steps(run).items()},
        "evaluations": [
            {key: value for key, value in event.items() if key not in ("event", "time")}
            for event in run.events
            if event["event"] == "rl_eval"
        ],
        "eval": {name: _grid(e) for name, e in (("before", run.before), ("after", run.after)) if e is not None},
        "bands": {band: _band(run, band) for band in run.bands.ranges},
        "target": run.bands.target,
        "gain": _gain(run, run.bands.target) if run.before and run.after else None,
        "changed": _changed(run.before, run.after) if run.before and run.after else None,
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


def _rl_steps(run: RunRecord) -> dict[str, list[dict[str, Any]]]:
    stages: dict[str, list[dict[str, Any]]] = {}
    for event in run.events:
        if event["event"] == "rl_step":
            stages.setdefault(event["stage"], []).append(event)
    return stages


def _learning(steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A summary of an RL stage: updates, groups drawn per group trained on, and the curriculum's last state."""
    trained = sum(step["trained_groups"] for step in steps)
    return {
        "steps": len(steps),
        "updates": steps[-1]["updates"],
        "groups_drawn_per_trained": sum(step["judged_groups"] for step in steps) / trained if trained else None,
        "strata": steps[-1]["strata"],
    }


def _grid(evaluation: Evaluation) -> dict[str, Any]:
    names = labels(evaluation.strata())
    return {names[s]: _cell([score for score in evaluation.scores if score.stratum == s]) for s in names}


def _cell(scores: Sequence[ProblemScore]) -> dict[str, Any]:
    accuracies = [s.process_accuracy for s in scores if s.process_accuracy is not None]
    return {
        "stratum": dict(scores[0].stratum.axes),
        "n_problems": len(scores),
        "n_samples": asked(scores),
        **{kind: curve(scores, kind) for kind in kinds(scores)},
        "process_accuracy": sum(accuracies) / len(accuracies) if accuracies else None,
    }


def _changed(before: Evaluation, after: Evaluation) -> dict[str, Any]:
    names = labels(before.strata())
    return {names[stratum]: asdict(change) for stratum, change in changes(before, after).items()}


def changed_texts(run: RunRecord) -> dict[str, list[dict[str, Any]]]:
    """The content of `changed.json`: the problems of each stratum with what became of them, and a text of each side."""
    if run.before is None or run.after is None:
        return {}
    names = labels(run.before.strata())
    found = changed_problems(run.before, run.after)
    return {names[stratum]: [asdict(problem) for problem in problems] for stratum, problems in found.items()}


def _band(run: RunRecord, band: str) -> dict[str, Any]:
    found: dict[str, Any] = {"axes": run.bands.say(band)}
    for name, evaluation in (("before", run.before), ("after", run.after)):
        if evaluation is not None and (scores := _of_band(run, evaluation, band)):
            found[name] = {
                kind: {f"pass@{k}": asdict(interval(scores, kind, k, BOOTSTRAP_SEED)) for k in powers(asked(scores))}
                for kind in kinds(scores)
            }
    if "before" in found and "after" in found:
        found["gain"] = _gain(run, band)
    return found


def _gain(run: RunRecord, band: str | None) -> dict[str, Any]:
    assert run.before is not None
    assert run.after is not None
    before, after = _of_band(run, run.before, band), _of_band(run, run.after, band)
    return {
        f"{kind}_pass@{k}": asdict(gain(before, after, kind, k, BOOTSTRAP_SEED))
        for kind in kinds(before)
        for k in powers(max(min(b.samples, a.samples) for b, a in zip(before, after, strict=True)))
    }


def _of_band(run: RunRecord, evaluation: Evaluation, band: str | None) -> list[ProblemScore]:
    return [s for s in evaluation.scores if run.bands.holds(band, s.stratum)]


def events_of(run_dir: Path) -> tuple[dict[str, Any], ...]:
    """The run's events; if a step was repeated after a resume, only its last record counts."""
    latest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, event in enumerate(read_events(run_dir / "metrics.jsonl")):
        stepped = event["event"] in ("rl_step", "rl_eval", "pretrain_step")
        key = (event["event"], event["stage"], event["step"]) if stepped else (number,)
        latest.pop(key, None)
        latest[key] = dict(event)
    return tuple(latest.values())
