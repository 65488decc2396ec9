"""The numbers of a run's report, `report.json`; `trainers.evaluation.page` makes the page from them.

Pure arithmetic on the files that the stages wrote into the run folder; nothing is sampled or loaded here. Every
interval is a 95% bootstrap over problems, paired where two evaluations are compared. The last evaluation is that after
training; the one before it is the first that asked the same.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from actors.diagnosis.findings import diagnose
from actors.telemetry import read_events
from trainers.evaluation.bands import Bands
from trainers.evaluation.change import changed_problems, changes
from trainers.evaluation.comparison import Terms
from trainers.evaluation.evaluate import Evaluation, ProblemScore, asked, curve, gain, interval, kinds, powers
from trainers.evaluation.ledger import StageRecord
from verifier.families import TaskConfig
from verifier.task import labels

BOOTSTRAP_SEED = 0  # intervals are part of the record: the same scores give the same interval


@dataclass(frozen=True)
class RunRecord:
    """All that a report is computed from; `evaluations` are what the eval stages asked and scored, in their order."""

    name: str
    recipe: dict[str, Any]
    recipe_text: str
    bands: Bands
    stages: tuple[StageRecord, ...]
    evaluations: tuple[tuple[TaskConfig, Evaluation], ...]
    events: tuple[dict[str, Any], ...]

    @cached_property
    def before(self) -> Evaluation | None:
        """The first evaluation that `after` can be held against; the only one, if there is one alone."""
        measured = [evaluation for _, evaluation in self.evaluations]
        if self.after is None:
            return measured[0] if measured else None
        return next((one for one in measured[:-1] if not _unlike(one, self.after)), None)

    @property
    def after(self) -> Evaluation | None:
        """The last of several evaluations."""
        return self.evaluations[-1][1] if len(self.evaluations) > 1 else None

    @property
    def task(self) -> TaskConfig:
        """What the last evaluation asked."""
        return self.evaluations[-1][0]

    @property
    def unpaired(self) -> str:
        """Why no evaluation can be held against the last one, if several are there; else empty."""
        if self.after is None or self.before is not None:
            return ""
        return _unlike(self.evaluations[0][1], self.after)


def _unlike(one: Evaluation, other: Evaluation) -> str:
    return Terms.of(one).unlike(Terms.of(other))


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
        "unpaired": run.unpaired,
        "gain": _gain(run, run.bands.target),
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
    if (gained := _gain(run, band)) is not None:
        found["gain"] = gained
    return found


def _gain(run: RunRecord, band: str | None) -> dict[str, Any] | None:
    """By reading and k; None without two evaluations of problems in the band."""
    if run.before is None or run.after is None:
        return None
    before, after = _of_band(run, run.before, band), _of_band(run, run.after, band)
    if not before:
        return None
    return {
        f"{kind}_pass@{k}": asdict(gain(before, after, kind, k, BOOTSTRAP_SEED))
        for kind in kinds(before)
        for k in powers(max(min(b.samples, a.samples) for b, a in zip(before, after, strict=True)))
    }


def _of_band(run: RunRecord, evaluation: Evaluation, band: str | None) -> list[ProblemScore]:
    return [s for s in evaluation.scores if run.bands.holds(band, s.stratum)]


_UNDOES: Final = {
    "rl_step": ("rl_step", "rl_eval"),
    "rl_eval": ("rl_eval",),
    "pretrain_step": ("pretrain_step",),
}
"""Which events of a step, and of those after it, an event takes back: a resumed stage told of them before."""


def events_of(run_dir: Path) -> tuple[dict[str, Any], ...]:
    """The run's events, without those of steps that a resume undid."""
    kept: list[dict[str, Any]] = []
    furthest: dict[tuple[str, str], int] = {}
    for event in map(dict, read_events(run_dir / "metrics.jsonl")):
        if event["event"] in _UNDOES:
            told = (event["event"], event["stage"])
            if event["step"] <= furthest.get(told, -1):
                kept = [old for old in kept if not _undone(old, event)]
            furthest[told] = event["step"]
        kept.append(event)
    return tuple(kept)


def _undone(old: Mapping[str, Any], by: Mapping[str, Any]) -> bool:
    return old["event"] in _UNDOES[by["event"]] and old["stage"] == by["stage"] and old["step"] >= by["step"]
