"""The numbers of a comparison of runs. How they look is `cluster.compare.page` and `cluster.compare.text`.

Every run is held against the first one that was measured, problem by problem: a difference has a 95% bootstrap interval
over problems. A run is one seed, so an interval says nothing about other seeds; studies are for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from actors.diagnosis.findings import diagnose
from cluster.recipe.config import LEARNING
from cluster.recipe.identity import changes
from cluster.run.folder import RunFolder
from trainers.evaluation.bands import Bands
from trainers.evaluation.comparison import Estimate, Metric, Scores, Terms, estimate
from trainers.evaluation.evaluate import Evaluation, asked, powers
from trainers.evaluation.report import events_of
from verifier.errors import UserError

CURVES: Final = ("reward", "strict", "outcome", "entropy", "completion_tokens", "truncated", "no_gradient", "kl")
"""What of the RL steps is drawn, over learner steps."""
WHOLE: Final = Bands(ranges={"whole task": {}})


class NotComparable(UserError):
    """Runs that cannot be compared; the message says why."""

    fix = "Evaluate them on the same problems: the same task, problems, samples and temperature of the last eval stage."


@dataclass(frozen=True, slots=True)
class Compared:
    """One run: its resolved recipe as plain data, its last evaluation if it has one, and its events."""

    name: str
    recipe: Mapping[str, Any]
    bands: Bands
    evaluation: Evaluation | None
    events: Sequence[Mapping[str, Any]]
    spent: Mapping[str, float]

    @classmethod
    def of(cls, folder: RunFolder, name: str) -> Compared:
        """The run of a folder, called `name`."""
        recipe = folder.recipe()
        evaluations = [folder.evaluation(stage.name) for stage in recipe.stages if stage.kind == "eval"]
        done = [evaluation for evaluation in evaluations if evaluation is not None]
        tree = recipe.model_dump(mode="json")
        tree["stages"] = {stage["name"]: stage for stage in tree["stages"]}
        last = done[-1] if done and evaluations[-1] is not None else None
        return cls(name, tree, recipe.bands, last, events_of(folder.path), _spent(folder))


def content(runs: Sequence[Compared]) -> dict[str, Any]:
    """The whole comparison as plain data. Raises NotComparable."""
    measured = [run for run in runs if run.evaluation is not None]
    for run in measured[1:]:
        _require_same_problems(measured[0], run)
    return {
        "runs": [run.name for run in runs],
        "differences": differences(runs),
        "against": (measured or runs)[0].name,
        "unmeasured": [run.name for run in runs if run.evaluation is None],
        "bands": _bands(measured) if len(measured) > 1 else {},
        "curves": {run.name: _curves(run) for run in runs},
        "costs": {run.name: dict(run.spent) for run in runs},
        "findings": {run.name: [finding.line for finding in diagnose(run.events)] for run in runs},
    }


def differences(runs: Sequence[Compared]) -> dict[str, list[Any]]:
    """By key, the value of each run, for every key of the recipes that is not the same in all; None where it is not."""
    first = runs[0].recipe
    keys = [change.key for run in runs[1:] for change in changes(first, run.recipe)]
    return {key: [_at(run.recipe, key) for run in runs] for key in dict.fromkeys(keys)}


def _at(tree: Any, key: str) -> Any:
    for step in key.split("."):
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def _require_same_problems(first: Compared, other: Compared) -> None:
    assert first.evaluation is not None
    assert other.evaluation is not None
    if why := Terms.of(first.evaluation).unlike(Terms.of(other.evaluation)):
        raise NotComparable(f"{first.name} and {other.name} were not evaluated alike: {why}.")


def _bands(runs: Sequence[Compared]) -> dict[str, Any]:
    """By band of the first run (or the whole task), metric and k: the scores, and how far each is from the first."""
    evaluations = {run.name: run.evaluation for run in runs if run.evaluation is not None}
    bands = runs[0].bands if runs[0].bands.ranges else WHOLE
    strata = next(iter(evaluations.values())).strata()
    shown = [band for band in bands.ranges if any(bands.holds(band, stratum) for stratum in strata)]
    return {band: {"axes": bands.say(band), **_band(bands, band, evaluations)} for band in shown}


def _band(bands: Bands, band: str, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    inside = [s for e in evaluations.values() for s in e.scores if bands.holds(band, s.stratum)]
    least = min(asked(e.scores) for e in evaluations.values())
    most = powers(max(1, least // 2))[-1]  # n >= 2k, or the largest k is noise
    metrics: list[Metric] = ["verified", "outcome"] if inside[0].strict is not None else ["outcome"]
    scores = {name: Scores([e]) for name, e in evaluations.items()}
    found: dict[str, Any] = {}
    for metric in metrics:
        for k in sorted({1, most}):
            tables = {name: of.table(bands, band, metric, k) for name, of in scores.items()}
            base = next(iter(tables.values()))
            found[f"{metric}_pass@{k}"] = {
                name: {
                    "score": asdict(score),
                    "difference": None if table is base else _record(estimate(table.minus(base))),
                }
                for name, table in tables.items()
                if (score := estimate(table)) is not None
            }
    return {"scores": found}


def _record(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _curves(run: Compared) -> dict[str, dict[str, list[float | None]]]:
    """By RL stage, the numbers of its steps; only those that the stage has."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for event in run.events:
        if event["event"] == "rl_step":
            stages.setdefault(event["stage"], []).append(event)
    return {
        stage: {
            key: [event.get(key) for event in steps]
            for key in ("step", *CURVES)
            if any(event.get(key) is not None for event in steps)
        }
        for stage, steps in stages.items()
    }


def _spent(folder: RunFolder) -> dict[str, float]:
    """What the stages of learning spent, drawing included, and the seconds of all stages."""
    stages = folder.stages()
    learning = [stage for stage in stages if stage.kind in LEARNING]
    return {
        "tokens": sum(stage.tokens for stage in learning),
        "flops": sum(stage.flops for stage in learning),
        "paper_tokens": sum(stage.paper_tokens for stage in learning),
        "seconds": sum(stage.seconds for stage in stages),
    }
