"""How much two arms of a study differ: paired by problem, over several seeds, with an interval.

An arm's `Table` has one value per (seed, problem) for each stratum, of the same held-out problems for every arm and
seed. A band is the mean of its strata, so a stratum with more problems has no more weight. Intervals are percentile
bootstraps over both factors of the crossed design: seeds and, within each stratum, problems are resampled, and each
resampled seed is combined with each resampled problem. Pure arithmetic on arrays; `cluster.study.claims` decides which
arms are compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import Evaluation, asked
from verifier.estimators import pass_at_k
from verifier.task import Stratum, labels

RESAMPLES: Final = 2000
LEVEL: Final = 0.95

Values = NDArray[np.float64]

Metric = Literal["verified", "outcome", "gap", "process", "recovery"]
"""pass@k by verified traces, or by answers alone; the second less the first. The other two have no k, and theirs is 1:
the mean process accuracy, and the share of completions that recovered from an error planted in a right trace."""


@dataclass(frozen=True)
class Table:
    """Values [seeds, problems] of each stratum, by name; NaN where too little of a problem was judged for one.

    `problems` are the ids of each stratum's problems, in the order of the values. Every stratum has the same number of
    seeds, at least one.
    """

    strata: Mapping[str, Values]
    problems: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        seeds = {values.shape[0] for values in self.strata.values()}
        if len(seeds) != 1 or 0 in seeds or any(values.shape[1] == 0 for values in self.strata.values()):
            raise ValueError("a table holds at least one stratum, one seed and one problem, and as many seeds for each")
        if {name: values.shape[1] for name, values in self.strata.items()} != {
            name: len(ids) for name, ids in self.problems.items()
        }:
            raise ValueError("a table has an id for each of its problems")

    def minus(self, other: Table) -> Table:
        """This arm less another, problem by problem. Raises ValueError unless both hold the same problems and seeds."""
        same = {name: v.shape for name, v in self.strata.items()} == {name: v.shape for name, v in other.strata.items()}
        if not same or self.problems != other.problems:
            raise ValueError("a paired comparison needs the same strata, problems and seeds on both sides")
        return Table({name: values - other.strata[name] for name, values in self.strata.items()}, self.problems)

    def at(self, seeds: Sequence[int]) -> Table:
        """The same table with some of its seeds, by their numbers."""
        return Table({name: values[list(seeds)] for name, values in self.strata.items()}, self.problems)

    @cached_property
    def complete(self) -> Mapping[str, Values]:
        """The values of the problems that have one at every seed; a stratum may be left with no problem."""
        lacks = {name: np.isnan(values).any(axis=0) for name, values in self.strata.items()}
        return {name: v.compress(~lacks[name], axis=1) if lacks[name].any() else v for name, v in self.strata.items()}

    @property
    def measured(self) -> bool:
        """Whether every stratum has a problem with a value at every seed: without one it has no mean."""
        return all(values.size for values in self.complete.values())

    @cached_property
    def per_seed(self) -> tuple[float, ...]:
        """The mean over strata of the mean over complete problems, for each seed. The table must be `measured`."""
        return tuple(np.mean([values.mean(axis=1) for values in self.complete.values()], axis=0).tolist())


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95% interval, and the mean of each seed in order."""

    mean: float
    lo: float
    hi: float
    per_seed: tuple[float, ...]

    @property
    def spread(self) -> float:
        """The standard deviation between seeds; 0 for a single one."""
        return float(np.std(self.per_seed, ddof=1)) if len(self.per_seed) > 1 else 0.0


@dataclass(frozen=True)
class Terms:
    """What an evaluation asked: two can be paired only on the same terms. `strata` are those of its problems."""

    temperature: float
    samples: int
    problems: tuple[str, ...]
    strata: tuple[Stratum, ...]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Terms:
        """The terms of an evaluation."""
        scores = evaluation.scores
        ids, strata = tuple([score.problem_id for score in scores]), tuple([score.stratum for score in scores])
        return cls(evaluation.temperature, asked(scores), ids, strata)

    @cached_property
    def places(self) -> Mapping[Stratum, Sequence[int]]:
        """The places of each stratum's problems among all."""
        found: dict[Stratum, list[int]] = {}
        for place, stratum in enumerate(self.strata):
            found.setdefault(stratum, []).append(place)
        return found

    def unlike(self, other: Terms) -> str:
        """Why the two evaluations cannot be paired, empty where they can."""
        if self.temperature != other.temperature:
            return f"at temperature {self.temperature:g} and {other.temperature:g}"
        if self.problems != other.problems:
            return self._other_problems(other)
        return f"with {self.samples} and {other.samples} samples of a problem" if self.samples != other.samples else ""

    def _other_problems(self, other: Terms) -> str:
        if differing := [s for s in {**self.places, **other.places} if (s in self.places) != (s in other.places)]:
            names = labels([*self.places, *other.places])
            return f"only one of them has {', '.join(names[stratum] for stratum in differing[:4])}"
        if len(self.problems) != len(other.problems):
            return f"on {len(self.problems)} and {len(other.problems)} problems"
        differ = sum(one != another for one, another in zip(self.problems, other.problems, strict=True))
        return f"on other problems ({differ} of {len(self.problems)} differ)"


class Scores:
    """What an arm scored, from the evaluation of each seed. Raises ValueError if their terms differ."""

    def __init__(self, evaluations: Sequence[Evaluation]) -> None:
        self.terms, *others = map(Terms.of, evaluations)
        if why := next(filter(None, map(self.terms.unlike, others)), ""):
            raise ValueError(f"the seeds of an arm were not evaluated alike: {why}")
        counts = _Counts.of(evaluations)
        self._strata = {s: counts.of_problems(places) for s, places in self.terms.places.items()}
        self._ids = {s: tuple([self.terms.problems[p] for p in places]) for s, places in self.terms.places.items()}

    def table(self, bands: Bands, band: str, metric: Metric, k: int) -> Table:
        """The arm's values in a band; none for a problem with too few judged samples."""
        chosen = [stratum for stratum in self._strata if bands.holds(band, stratum)]
        values = {stratum.name: self._strata[stratum].values(metric, k) for stratum in chosen}
        return Table(values, {stratum.name: self._ids[stratum] for stratum in chosen})


@dataclass(frozen=True, slots=True)
class _Counts:
    """Completions, right answers, verified traces and two shares of each problem, [seeds, problems]."""

    samples: NDArray[np.int64]
    outcome: NDArray[np.int64]
    strict: NDArray[np.int64]
    process: Values
    recovery: Values

    @classmethod
    def of(cls, evaluations: Sequence[Evaluation]) -> _Counts:
        return cls(
            np.asarray([[s.samples for s in e.scores] for e in evaluations]),
            np.asarray([[s.outcome for s in e.scores] for e in evaluations]),
            np.asarray([[s.strict or 0 for s in e.scores] for e in evaluations]),
            np.asarray([[s.process_accuracy or 0.0 for s in e.scores] for e in evaluations]),
            np.asarray([_recovery(e) for e in evaluations]),
        )

    def of_problems(self, places: Sequence[int]) -> _Counts:
        """The counts of some problems."""
        # `take` keeps the rows together: on columns as `[:, places]` lays them out, a mean differs in its last digit.
        samples, outcome, strict = (of.take(places, axis=1) for of in (self.samples, self.outcome, self.strict))
        return _Counts(samples, outcome, strict, *(of.take(places, axis=1) for of in (self.process, self.recovery)))

    def values(self, metric: Metric, k: int) -> Values:
        if metric == "process":
            return self.process
        if metric == "recovery":
            return self.recovery
        passes = _passes(int(self.samples.max()), k)
        if metric == "gap":
            return passes[self.samples, self.outcome] - passes[self.samples, self.strict]
        return passes[self.samples, self.strict if metric == "verified" else self.outcome]


def _recovery(evaluation: Evaluation) -> list[float]:
    """The share that recovered from each problem's planted error, which all arms share; NaN without a judged one."""
    shares = {score.problem_id: score.recovered for score in evaluation.recovery if score.outcomes}
    return [shares.get(score.problem_id, math.nan) for score in evaluation.scores]


@lru_cache
def _passes(most: int, k: int) -> Values:
    """pass@k by [samples, right ones], up to `most` samples; NaN where there are fewer samples than k."""
    found = np.full((most + 1, most + 1), np.nan)
    for samples in range(k, most + 1):
        for right in range(samples + 1):
            found[samples, right] = pass_at_k(samples, right, k)
    return found


def estimate(of: Table, seed: int = 0) -> Estimate | None:
    """The mean of a table and its interval; the same seed gives the same interval. None if it is not `measured`."""
    return estimates([of], seed)[0]


def estimates(tables: Sequence[Table], seed: int = 0) -> list[Estimate | None]:
    """The estimate of each table. Tables of one shape are resampled together: the numbers are those of each alone."""
    alike: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for number, table in enumerate(tables):
        if table.measured:
            alike.setdefault(tuple(v.shape for v in table.complete.values()), []).append(number)
    found: list[Estimate | None] = [None] * len(tables)
    for numbers in alike.values():
        for number, one in zip(numbers, _resampled([tables[n] for n in numbers], seed), strict=True):
            found[number] = one
    return found


def _resampled(tables: Sequence[Table], seed: int) -> list[Estimate]:
    """The estimates of tables of one shape: for each stratum, one matrix product has the means of them all."""
    seeds, strata = len(tables[0].per_seed), len(tables[0].complete)
    drawn = np.zeros((RESAMPLES, len(tables)))
    for number, values in enumerate(zip(*(table.complete.values() for table in tables), strict=True), start=1):
        rows = np.concatenate([*values, values[0]])  # never one alone: BLAS adds up a single column in another order
        means = (_weights(rows.shape[1], seed, number) @ rows.T)[:, : len(tables) * seeds]
        drawn += np.einsum("rs,rts->rt", _weights(seeds, seed, 0), means.reshape(RESAMPLES, len(tables), seeds))
    tail = (1 - LEVEL) / 2
    ends = np.quantile(drawn / strata, [tail, 1 - tail], axis=0).T.tolist()
    return [
        Estimate(float(np.mean(of.per_seed)), lo, hi, of.per_seed) for of, (lo, hi) in zip(tables, ends, strict=True)
    ]


@lru_cache(maxsize=64)
def _weights(size: int, *seed: int) -> Values:
    """The weight of each of `size` things in each bootstrap resample, as a share; [RESAMPLES, size]."""
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=RESAMPLES) / size
