"""What an arm scored, by band and by stratum: the part of `study.json` that follows from evaluations alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, Self

from trainers.evaluation.bands import Bands
from trainers.evaluation.comparison import Estimate, Metric, Scores, Table, Terms, estimates
from trainers.evaluation.evaluate import Evaluation, ProblemScore, asked, powers
from verifier.task import Stratum, labels

NOTHING: Final[dict[str, Any]] = {"bands": {}, "strata": {}}
"""The numbers of an arm of which no seed is done."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Evaluations of one arm at several seeds, with their scores."""

    evaluations: Sequence[Evaluation]
    scores: Scores

    @classmethod
    def of(cls, evaluations: Sequence[Evaluation]) -> Self:
        """Raises ValueError if the seeds were not evaluated alike."""
        return cls(evaluations, Scores(evaluations))

    def problems(self) -> dict[Stratum, list[ProblemScore]]:
        """The score of every problem at every seed, by stratum."""
        places = self.scores.terms.places
        return {stratum: [e.scores[place] for e in self.evaluations for place in at] for stratum, at in places.items()}


@dataclass(frozen=True, slots=True)
class Measured:
    """An arm at the seeds that are done, before and after; `left_out` says why a seed that is done is not used."""

    before: Mapping[int, Evaluation]
    after: Mapping[int, Evaluation]
    left_out: Mapping[int, str]

    @classmethod
    def of(cls, before: Mapping[int, Evaluation], after: Mapping[int, Evaluation]) -> Self:
        """The seeds that have both and were evaluated as the first of them was."""
        done = [seed for seed in after if seed in before]
        terms = {seed: (Terms.of(before[seed]), Terms.of(after[seed])) for seed in done}
        unlike = {
            seed: [one.unlike(other) for one, other in zip(terms[done[0]], terms[seed], strict=True)] for seed in done
        }
        left_out = {seed: next(filter(None, why)) for seed, why in unlike.items() if any(why)}
        return cls(before, {seed: after[seed] for seed in done if seed not in left_out}, left_out)

    def sides(self) -> tuple[Scored, Scored] | None:
        """What was scored before and after, at the same seeds; None if no seed is done."""
        if not self.after:
            return None
        return Scored.of([self.before[seed] for seed in self.after]), Scored.of([*self.after.values()])


def in_numbers(bands: Bands, after: Scored, before: Scored | None = None) -> dict[str, Any]:
    """What was scored, by band and by stratum, with the gains since `before` unless that was evaluated otherwise."""
    if before is not None and before.scores.terms.unlike(after.scores.terms):
        before = None
    now, then = after.problems(), before.problems() if before is not None else None
    within = {band: [s for s in now if bands.holds(band, s)] for band in bands.ranges}
    shown = {band: [score for s in strata for score in now[s]] for band, strata in within.items() if strata}
    found = _estimated(bands, shown, after.scores, before.scores if before is not None else None)
    for band, scores in shown.items():
        if then is not None:
            found[band]["problems"] = _moved([score for s in within[band] for score in then[s]], scores)
        found[band] |= {
            "first_errors": _first_errors(scores),
            "completions": sum(score.samples for score in scores),
            "traces": _mean([score.traces for score in scores if score.traces is not None]),
        }
    names = labels([*now])
    return {"bands": found, "strata": {names[stratum]: _stratum(scores) for stratum, scores in now.items()}}


def of_base(bands: Bands, evaluations: Mapping[int, Evaluation]) -> dict[str, Any]:
    """What a base scored at the seeds at which it was evaluated alike, by band and by stratum."""
    alike = Measured.of(evaluations, evaluations).after
    return in_numbers(bands, Scored.of([*alike.values()])) if alike else NOTHING


def _estimated(
    bands: Bands, shown: Mapping[str, Sequence[ProblemScore]], now: Scores, then: Scores | None
) -> dict[str, dict[str, Any]]:
    """By band, the scores and gains of each metric that was measured, at each k with enough judged samples."""
    tables: dict[tuple[str, str, Metric, int], Table] = {}
    for band, scores in shown.items():
        ks = powers(asked(scores) // 2) or [1]  # n >= 2k, since pass@k at larger k is noise
        for metric, k in _wanted(scores[0].strict is not None, ks):
            tables[band, "scores", metric, k] = table = now.table(bands, band, metric, k)
            if then is not None and k in (ks[0], ks[-1]):
                tables[band, "gains", metric, k] = table.minus(then.table(bands, band, metric, k))
    kinds = ("scores",) if then is None else ("scores", "gains")
    found: dict[str, dict[str, Any]] = {band: {kind: {} for kind in kinds} for band in shown}
    for (band, what, metric, k), one in zip(tables, estimates([*tables.values()]), strict=True):
        if one is not None:
            found[band][what].setdefault(metric, {})[str(k)] = as_record(one)
    return found


def _wanted(judged: bool, ks: Sequence[int]) -> list[tuple[Metric, int]]:
    at_every_k: list[Metric] = ["outcome", "verified"] if judged else ["outcome"]
    at_one: list[Metric] = ["gap", "process", "recovery"] if judged else []
    return [*((metric, k) for metric in at_every_k for k in ks), *((metric, 1) for metric in at_one)]


def as_record(found: Estimate) -> dict[str, Any]:
    """An estimate as plain data, with its spread."""
    ends = {"mean": found.mean, "lo": found.lo, "hi": found.hi}
    return {**ends, "per_seed": list(found.per_seed), "spread": found.spread}


def _moved(before: Sequence[ProblemScore], after: Sequence[ProblemScore]) -> dict[str, float]:
    """Shares of the problems that some completion solved before and after RL, only before, only after, or never."""
    names = {(True, True): "kept", (True, False): "lost", (False, True): "solved", (False, False): "never"}
    found = Counter(names[_solved(b), _solved(a)] for b, a in zip(before, after, strict=True))
    return {name: found[name] / len(after) for name in names.values()}


def _solved(score: ProblemScore) -> bool:
    return (score.outcome if score.strict is None else score.strict) > 0


def _first_errors(scores: Sequence[ProblemScore]) -> dict[str, list[int]]:
    """Completions by the status of their first error and by the number of its step."""
    found: dict[str, list[list[int]]] = {}
    for score in scores:
        for status, places in score.first_errors.items():
            found.setdefault(status, []).append(places)
    return {status: [sum(at) for at in zip_longest(*found[status], fillvalue=0)] for status in sorted(found)}


def _stratum(scores: Sequence[ProblemScore]) -> dict[str, float | None]:
    verified = [s.strict / s.samples for s in scores if s.strict is not None]
    return {"verified": _mean(verified), "outcome": _mean([s.outcome / s.samples for s in scores])}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
