"""The results of a study: `study.json`. `cluster.study.page` makes the page from it.

Everything is computed from the folders of its runs, finished or not, and from nothing else: the same runs give the same
bytes, except for what is under `times`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from cluster.recipe.config import LEARNING
from cluster.run.folder import RunFolder
from cluster.study.claims import BASE, Comparison, Greater, Side, Unchanged, decide
from cluster.study.folder import State, StudyFolder
from cluster.study.measures import NOTHING, Measured, as_record, in_numbers, of_base
from cluster.study.model import AFTER, BEFORE, COMPUTE_TOLERANCE, Study
from cluster.study.plan import Member, Plan, Run
from trainers.evaluation.bands import Bands
from trainers.evaluation.comparison import Scores
from trainers.evaluation.evaluate import Evaluation
from trainers.evaluation.ledger import StageRecord
from trainers.evaluation.report import events_of


@dataclass(frozen=True, slots=True)
class Arm:
    """What an arm scored: the seeds that are done, their scores before and after, and all of it in numbers."""

    seeds: tuple[int, ...]
    before: Scores | None
    after: Scores | None
    left_out: Mapping[int, str]
    base: dict[str, Any]
    numbers: dict[str, Any]

    @classmethod
    def of(cls, bands: Bands, measured: Measured, with_base: bool) -> Self:
        """An arm from what was measured of it; `with_base` says whether its base is wanted in numbers."""
        base = of_base(bands, measured.before) if with_base else NOTHING
        sides = measured.sides()
        if sides is None:
            return cls((), None, None, measured.left_out, base, NOTHING)
        before, after = sides
        numbers = in_numbers(bands, after, before)
        return cls((*measured.after,), before.scores, after.scores, measured.left_out, base, numbers)


def content(folder: StudyFolder) -> dict[str, Any]:
    """The content of `study.json`."""
    registered = folder.current()
    plan = registered.plan()
    study = plan.study
    bands = plan.runs[0].recipe.bands
    base: dict[int, Evaluation] = {}
    arms: dict[str, Arm] = {}
    for arm in study.arms:  # one at a time: the evaluations of a large study are a gigabyte
        measured = _measured(folder, plan, arm)
        arms[arm] = Arm.of(bands, measured, with_base=not plan.one_base)
        if plan.one_base:
            base = {**measured.before, **base}
    spent = {arm: {seed: _spent(folder, plan.run(Member(arm, seed))) for seed in study.seeds} for arm in study.arms}
    return {
        "study": study.name,
        "question": study.question,
        "recipe": registered.scale.recipe,
        "seeds": list(study.seeds),
        "bands": {band: bands.say(band) for band in bands.ranges},
        "amendments": folder.amendments(),
        "equal": study.equal,
        "claims": [_claim(study, bands, claim, arms, spent) for claim in study.claims],
        "base": of_base(bands, {seed: base[seed] for seed in study.seeds if seed in base}),
        "arms": {
            arm: {
                "says": study.arms[arm].says,
                "control": study.arms[arm].control,
                "runs": {str(seed): _standing(folder, plan.run(Member(arm, seed))) for seed in study.seeds},
                "left_out": {str(seed): why for seed, why in found.left_out.items()},
                "spent": {str(seed): cost for seed, cost in spent[arm].items()},
                "base": None if plan.one_base else found.base,
                **found.numbers,
            }
            for arm, found in arms.items()
        },
        "times": {run.name: _seconds(folder, run) for run in plan.runs},
    }


def _measured(folder: StudyFolder, plan: Plan, arm: str) -> Measured:
    runs = {seed: folder.run(plan.run(Member(arm, seed))) for seed in plan.study.seeds}
    before = {seed: e for seed, run in runs.items() if (e := _before(run)) is not None}
    after = {seed: e for seed, run in runs.items() if (e := run.evaluation(AFTER)) is not None}
    return Measured.of(before, after)


def _before(folder: RunFolder) -> Evaluation | None:
    path = folder.path / "evals" / f"{BEFORE}.json"
    return _read(path.read_bytes()) if path.exists() else None


@lru_cache(maxsize=16)
def _read(data: bytes) -> Evaluation:
    """Arms that start from one base hold the same evaluation of it."""
    return Evaluation.from_record(json.loads(data))


def _claim(
    study: Study,
    bands: Bands,
    claim: Greater | Unchanged,
    arms: Mapping[str, Arm],
    spent: Mapping[str, Mapping[int, Mapping[str, float]]],
) -> dict[str, Any]:
    named = [arm for arm in claim.arms if arm != BASE]
    done = {arm: [spent[arm][seed][study.equal] for seed in _seeds(study, claim, arms)] for arm in named}
    return {
        **claim.model_dump(mode="json"),
        "decided_by": claim.rule_in_words(),
        **claimed(study, bands, claim, arms),
        "compute": _compute(study, done),
    }


def claimed(study: Study, bands: Bands, claim: Greater | Unchanged, arms: Mapping[str, Arm]) -> dict[str, Any]:
    """A claim's verdict, with the comparisons behind it and the runs that it misses."""
    named = {arm: arms[arm] for arm in claim.arms if arm != BASE}
    seeds = _seeds(study, claim, arms)
    missing = [str(Member(name, seed)) for name, arm in named.items() for seed in study.seeds if seed not in arm.seeds]
    verdict = decide(claim, _sides(bands, claim, named, seeds) if seeds else {}, missing)
    return {
        "verdict": verdict.decision.value,
        "missing": list(verdict.missing),
        "comparisons": [_comparison(comparison) for comparison in verdict.comparisons],
    }


def _seeds(study: Study, claim: Greater | Unchanged, arms: Mapping[str, Arm]) -> list[int]:
    """The seeds that are done in all arms of a claim."""
    return [seed for seed in study.seeds if all(seed in arms[arm].seeds for arm in claim.arms if arm != BASE)]


def _sides(bands: Bands, claim: Greater | Unchanged, named: Mapping[str, Arm], seeds: Sequence[int]) -> dict[str, Side]:
    """The arms of a claim at some seeds; the base is that from which its first arm started."""
    first = next(iter(named.values()))
    scores = {BASE: (first, first.before), **{name: (arm, arm.after) for name, arm in named.items()}}
    found: dict[str, Side] = {}
    for name in claim.arms:
        arm, of = scores[name]
        assert of is not None, "an arm with a seed that is done has scores"
        table = of.table(bands, claim.band, claim.metric, claim.k)
        found[name] = Side(of.terms, table.at([arm.seeds.index(seed) for seed in seeds]))
    return found


def _comparison(of: Comparison) -> dict[str, Any]:
    found = {"why_none": of.why_none} if of.difference is None else as_record(of.difference)
    return {"against": of.against, "verdict": of.decision.value, **found}


def _compute(study: Study, spent: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """How much the arms of a claim differ in what they spent, as a share of the largest."""
    means = [sum(of) / len(of) for of in spent.values() if of]
    apart = 1 - min(means) / max(means) if means and max(means) else 0.0
    return {"unit": study.equal, "apart": apart, "equal": apart <= COMPUTE_TOLERANCE}


def _standing(folder: StudyFolder, run: Run) -> dict[str, Any]:
    """Whether a run is done; one that is stopped or still running is not."""
    standing = folder.standing(run)
    done = standing.state is State.DONE
    return {"done": done, "failure": standing.failure, "folder": run.name}


def _spent(folder: StudyFolder, run: Run) -> dict[str, float]:
    """What was spent since the base was measured, drawing included, by the run itself or by one that it shares."""
    stages = _since_base(folder.run(run).stages())
    drawing = {stage.name for stage in stages if stage.kind == "rl"}
    steps = [event for event in events_of(folder.run(run).path) if event["event"] == "rl_step"] if drawing else []
    learning = [stage for stage in stages if stage.kind in LEARNING]
    return {
        "tokens": sum(stage.tokens for stage in learning),
        "flops": sum(stage.flops for stage in learning),
        "paper_tokens": sum(stage.paper_tokens for stage in learning),
        "samples": sum(step["completions"] for step in steps if step["stage"] in drawing),
        "evaluation_flops": sum(stage.flops for stage in stages if stage.kind == "eval"),
    }


def _since_base(stages: Sequence[StageRecord]) -> Sequence[StageRecord]:
    """A run's finished stages after the base was measured: it has the records of what it shares too (`take_over`)."""
    names = [stage.name for stage in stages]
    return stages[names.index(BEFORE) + 1 :] if BEFORE in names else []


def _seconds(folder: StudyFolder, run: Run) -> dict[str, float]:
    return {stage.name: round(stage.seconds, 1) for stage in folder.run(run).stages() if stage.name in run.own}
