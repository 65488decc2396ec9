"""The results of a study: `study.json`. `cluster.study.page` makes the page from it.

Everything is computed from the folders of its runs, finished or not, and from nothing else: the same runs give the same
bytes, except for what is under `times`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from cluster.run.folder import RunFolder
from cluster.study.claims import BASE, Greater, Unchanged, Verdict, decide
from cluster.study.folder import State, StudyFolder
from cluster.study.model import AFTER, BEFORE, COMPUTE_TOLERANCE, Study
from cluster.study.plan import Member, Plan, Run
from trainers.evaluation.bands import Bands
from trainers.evaluation.comparison import Estimate, Metric, Scores, Table, estimate
from trainers.evaluation.evaluate import Evaluation, ProblemScore, asked, powers
from trainers.evaluation.ledger import StageRecord
from trainers.evaluation.report import events_of
from verifier.task import labels

LEARNING: Final = ("pretrain", "midtrain", "sft", "rejection", "rl")


@dataclass(frozen=True, slots=True)
class Measured:
    """An arm at the seeds that are done: the evaluations before and after."""

    before: dict[int, Evaluation]
    after: dict[int, Evaluation]


def content(folder: StudyFolder) -> dict[str, Any]:
    """The content of `study.json`."""
    registered = folder.current()
    plan = registered.plan()
    study = plan.study
    arms = {arm: _measured(folder, plan, arm) for arm in study.arms}
    bands = plan.run(Member(next(iter(study.arms)), study.seeds[0])).recipe.bands
    spent = {arm: {seed: _spent(folder, plan.run(Member(arm, seed))) for seed in study.seeds} for arm in study.arms}
    base = next((Measured({}, arm.before) for arm in arms.values() if arm.before), Measured({}, {}))
    return {
        "study": study.name,
        "question": study.question,
        "recipe": registered.scale.recipe,
        "seeds": list(study.seeds),
        "bands": {band: bands.say(band) for band in bands.ranges},
        "amendments": folder.amendments(),
        "equal": study.equal,
        "claims": [_claim(study, bands, claim, arms, spent) for claim in study.claims],
        "base": _scores(bands, base),
        "arms": {
            arm: {
                "says": study.arms[arm].says,
                "control": study.arms[arm].control,
                "runs": {str(seed): _standing(folder, plan.run(Member(arm, seed))) for seed in study.seeds},
                "spent": {str(seed): cost for seed, cost in spent[arm].items()},
                **_scores(bands, measured),
            }
            for arm, measured in arms.items()
        },
        "times": {run.name: _seconds(folder, run) for run in plan.runs},
    }


def _measured(folder: StudyFolder, plan: Plan, arm: str) -> Measured:
    runs = {seed: folder.run(plan.run(Member(arm, seed))) for seed in plan.study.seeds}
    before, after = ({s: e for s, r in runs.items() if (e := _evaluation(r, name))} for name in (BEFORE, AFTER))
    return Measured(before, {seed: evaluation for seed, evaluation in after.items() if seed in before})


def _evaluation(folder: RunFolder, stage: str) -> Evaluation | None:
    path = folder.path / "evals" / f"{stage}.json"
    return _read(path.read_bytes()) if path.exists() else None


@lru_cache(maxsize=64)
def _read(data: bytes) -> Evaluation:
    """Arms that start from one base hold the same evaluation of it."""
    return Evaluation.from_record(json.loads(data))


def _claim(
    study: Study,
    bands: Bands,
    claim: Greater | Unchanged,
    arms: Mapping[str, Measured],
    spent: Mapping[str, Mapping[int, Mapping[str, float]]],
) -> dict[str, Any]:
    named = [arm for arm in claim.arms if arm != BASE]
    seeds = [seed for seed in study.seeds if all(seed in arms[arm].after for arm in named)]
    missing = [str(Member(arm, seed)) for arm in named for seed in study.seeds if seed not in arms[arm].after]
    evaluations = {arm: [arms[arm].after[seed] for seed in seeds] for arm in named}
    if BASE in claim.arms:
        evaluations[BASE] = [arms[named[0]].before[seed] for seed in seeds]
    tables = {arm: Scores(of).table(bands, claim.band, claim.metric, claim.k) for arm, of in evaluations.items() if of}
    verdict = decide(claim, tables, missing)
    return {
        **claim.model_dump(mode="json"),
        "decided_by": claim.rule_in_words(),
        **_verdict(verdict),
        "compute": _compute(study, {arm: [spent[arm][seed][study.equal] for seed in seeds] for arm in named}),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.decision.value,
        "missing": list(verdict.missing),
        "comparisons": [
            {"against": c.against, "verdict": c.decision.value, **_estimate(c.difference)} for c in verdict.comparisons
        ],
    }


def _compute(study: Study, spent: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """How much the arms of a claim differ in what they spent, as a share of the largest."""
    means = [sum(of) / len(of) for of in spent.values() if of]
    apart = 1 - min(means) / max(means) if means and max(means) else 0.0
    return {"unit": study.equal, "apart": apart, "equal": apart <= COMPUTE_TOLERANCE}


def _estimate(found: Estimate) -> dict[str, Any]:
    return {**asdict(found), "per_seed": list(found.per_seed), "spread": found.spread}


def _scores(bands: Bands, measured: Measured) -> dict[str, Any]:
    """What was measured of an arm, by band and by stratum; empty if it is done at no seed."""
    after = list(measured.after.values())
    if not after:
        return {"bands": {}, "strata": {}}
    before = [measured.before[seed] for seed in measured.after if seed in measured.before]
    strata = after[0].strata()
    names = labels(strata)
    return {
        "bands": {b: _band(bands, b, before, after) for b in bands.ranges if any(bands.holds(b, s) for s in strata)},
        "strata": {names[s]: _stratum([x for e in after for x in e.scores if x.stratum == s]) for s in strata},
    }


def _band(bands: Bands, band: str, before: Sequence[Evaluation], after: Sequence[Evaluation]) -> dict[str, Any]:
    inside = {stratum for stratum in after[0].strata() if bands.holds(band, stratum)}
    scores = [s for e in after for s in e.scores if s.stratum in inside]
    judged = scores[0].strict is not None
    ks = powers(asked(scores) // 2) or [1]  # n >= 2k, since pass@k at larger k is noise
    at_every_k: list[Metric] = ["outcome", "verified"] if judged else ["outcome"]
    at_one: list[Metric] = ["gap", "process"] if judged else []
    wanted: list[tuple[Metric, int]] = [*((m, k) for m in at_every_k for k in ks), *((m, 1) for m in at_one)]

    def tables(of: Sequence[Evaluation]) -> dict[tuple[Metric, int], Table]:
        measured = Scores(of)
        return {(metric, k): measured.table(bands, band, metric, k) for metric, k in wanted}

    now = tables(after)
    found: dict[str, Any] = {"scores": _by_metric((m, k, estimate(t)) for (m, k), t in now.items())}
    if before:
        then = tables(before)
        gains: list[tuple[Metric, int, Estimate]] = [
            (m, k, estimate(now[m, k].minus(then[m, k]))) for m, k in wanted if k in (ks[0], ks[-1])
        ]
        old = [s for e in before for s in e.scores if s.stratum in inside]
        found |= {"gains": _by_metric(gains), "problems": _moved(old, scores)}
    return found | {
        "first_errors": _first_errors(scores),
        "completions": sum(s.samples for s in scores),
        "traces": _mean([s.traces for s in scores if s.traces is not None]),
    }


def _by_metric(found: Iterable[tuple[Metric, int, Estimate]]) -> dict[str, dict[str, Any]]:
    grouped: dict[str, dict[str, Any]] = {}
    for metric, k, one in found:
        grouped.setdefault(metric, {})[str(k)] = _estimate(one)
    return grouped


def _moved(before: Sequence[ProblemScore], after: Sequence[ProblemScore]) -> dict[str, float]:
    """Shares of the problems that some completion solved before and after RL, only before, only after, or never."""
    names = {(True, True): "kept", (True, False): "lost", (False, True): "solved", (False, False): "never"}
    found = Counter(names[_solved(b), _solved(a)] for b, a in zip(before, after, strict=True))
    return {name: found[name] / len(after) for name in names.values()}


def _solved(score: ProblemScore) -> bool:
    return (score.outcome if score.strict is None else score.strict) > 0


def _first_errors(scores: Sequence[ProblemScore]) -> dict[str, list[int]]:
    """Completions by the status of their first error and by the number of its step."""
    found: dict[str, list[int]] = {}
    for score in scores:
        for status, places in score.first_errors.items():
            counts = found.setdefault(status, [])
            counts += [0] * (len(places) - len(counts))
            for place, count in enumerate(places):
                counts[place] += count
    return dict(sorted(found.items()))


def _stratum(scores: Sequence[ProblemScore]) -> dict[str, float | None]:
    verified = [s.strict / s.samples for s in scores if s.strict is not None]
    return {"verified": _mean(verified), "outcome": _mean([s.outcome / s.samples for s in scores])}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _standing(folder: StudyFolder, run: Run) -> dict[str, Any]:
    """Whether a run is done; one that is stopped or still running is not."""
    standing = folder.standing(run)
    done = standing.state is State.DONE
    return {"done": done, "failure": standing.failure, "folder": run.name}


def _spent(folder: StudyFolder, run: Run) -> dict[str, float]:
    """What a run's own training stages spent, with the drawing."""
    stages = _own(folder, run)
    steps = _rl_steps(folder.run(run).path) if stages else []
    learning = [stage for stage in stages if stage.kind in LEARNING]
    return {
        "tokens": sum(stage.tokens for stage in learning),
        "flops": sum(stage.flops for stage in learning),
        "paper_tokens": sum(stage.paper_tokens for stage in learning),
        "samples": sum(s["completions"] for s in steps),
        "evaluation_flops": sum(stage.flops for stage in stages if stage.kind == "eval"),
    }


def _rl_steps(path: Path) -> list[dict[str, Any]]:
    return [event for event in events_of(path) if event["event"] == "rl_step"]


def _seconds(folder: StudyFolder, run: Run) -> dict[str, float]:
    return {stage.name: round(stage.seconds, 1) for stage in _own(folder, run)}


def _own(folder: StudyFolder, run: Run) -> list[StageRecord]:
    return [stage for stage in folder.standing(run).stages if stage.name in run.own]
