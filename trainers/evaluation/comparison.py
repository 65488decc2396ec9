"""How much two arms of a study differ: paired by problem, over several seeds, with an interval.

An arm's `Table` has one value per (seed, problem) for each stratum, of the same held-out problems for every arm and
seed. A band is the mean of its strata, so a stratum with more problems has no more weight. Intervals are percentile
bootstraps over both factors of the crossed design: seeds and, within each stratum, problems are resampled, and each
resampled seed is combined with each resampled problem. Pure arithmetic on arrays; `cluster.study.claims` decides which
arms are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import Evaluation, ProblemScore
from verifier.estimators import pass_at_k
from verifier.task import Stratum

RESAMPLES: Final = 2000
LEVEL: Final = 0.95

Values = NDArray[np.float64]

Metric = Literal["verified", "outcome", "gap", "process"]
"""pass@k by verified traces, or by answers alone; the second less the first; the mean process accuracy (k is 1)."""


@dataclass(frozen=True)
class Table:
    """Values [seeds, problems] of each stratum, by name. Every stratum has the same number of seeds, at least one."""

    strata: Mapping[str, Values]

    def __post_init__(self) -> None:
        shapes = {values.shape[0] for values in self.strata.values()}
        if len(shapes) != 1 or 0 in shapes or any(values.shape[1] == 0 for values in self.strata.values()):
            raise ValueError("a table holds at least one stratum, one seed and one problem, and as many seeds for each")

    def minus(self, other: Table) -> Table:
        """This arm less another, problem by problem. Raises ValueError unless both hold the same problems and seeds."""
        if {name: v.shape for name, v in self.strata.items()} != {name: v.shape for name, v in other.strata.items()}:
            raise ValueError("a paired comparison needs the same strata, problems and seeds on both sides")
        return Table({name: values - other.strata[name] for name, values in self.strata.items()})

    @cached_property
    def per_seed(self) -> tuple[float, ...]:
        """The mean over strata of the mean over problems, for each seed."""
        return tuple(np.mean([values.mean(axis=1) for values in self.strata.values()], axis=0).tolist())


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


class Scores:
    """What an arm scored, from the evaluation of each seed. Raises ValueError if their problems differ."""

    def __init__(self, evaluations: Sequence[Evaluation]) -> None:
        first = [score.problem_id for score in evaluations[0].scores]
        if any([score.problem_id for score in e.scores] != first for e in evaluations):
            raise ValueError("a comparison needs the same problems, in the same order, for every seed")
        rows: dict[Stratum, list[list[ProblemScore]]] = {}
        for number, evaluation in enumerate(evaluations):
            for score in evaluation.scores:
                rows.setdefault(score.stratum, [[] for _ in evaluations])[number].append(score)
        self._strata = {stratum: _Counts.of(scores) for stratum, scores in rows.items()}

    def table(self, bands: Bands, band: str, metric: Metric, k: int) -> Table:
        """The arm's values in a band. Raises ValueError for a k beyond the samples of a problem."""
        chosen = {s: counts for s, counts in self._strata.items() if bands.holds(band, s)}
        return Table({stratum.name: counts.values(metric, k) for stratum, counts in chosen.items()})


@dataclass(frozen=True, slots=True)
class _Counts:
    """One stratum: completions, right answers and verified traces of each problem, [seeds, problems]."""

    samples: NDArray[np.int64]
    outcome: NDArray[np.int64]
    strict: NDArray[np.int64]
    process: Values

    @classmethod
    def of(cls, scores: Sequence[Sequence[ProblemScore]]) -> _Counts:
        return cls(
            np.asarray([[s.samples for s in row] for row in scores]),
            np.asarray([[s.outcome for s in row] for row in scores]),
            np.asarray([[s.strict or 0 for s in row] for row in scores]),
            np.asarray([[s.process_accuracy or 0.0 for s in row] for row in scores]),
        )

    def values(self, metric: Metric, k: int) -> Values:
        if metric == "process":
            return self.process
        passes = _passes(int(self.samples.max()), k)
        outcome, verified = passes[self.samples, self.outcome], passes[self.samples, self.strict]
        found = {"verified": verified, "outcome": outcome, "gap": outcome - verified}[metric]
        if np.isnan(found).any():
            raise ValueError(f"pass@{k} needs {k} samples of every problem")
        return found


@lru_cache
def _passes(most: int, k: int) -> Values:
    """pass@k by [samples, right ones], up to `most` samples; NaN where there are fewer samples than k."""
    found = np.full((most + 1, most + 1), np.nan)
    for samples in range(k, most + 1):
        for right in range(samples + 1):
            found[samples, right] = pass_at_k(samples, right, k)
    return found


def estimate(of: Table, seed: int = 0) -> Estimate:
    """The mean of a table and its interval; the same seed gives the same interval."""
    seed_weights = _weights(len(of.per_seed), seed, 0)
    drawn = np.zeros(RESAMPLES)
    for number, values in enumerate(of.strata.values(), start=1):
        drawn += np.einsum("rs,rs->r", seed_weights, _weights(values.shape[1], seed, number) @ values.T)
    tail = (1 - LEVEL) / 2
    lo, hi = np.quantile(drawn / len(of.strata), [tail, 1 - tail])
    return Estimate(float(np.mean(of.per_seed)), float(lo), float(hi), of.per_seed)


@lru_cache(maxsize=64)
def _weights(size: int, *seed: int) -> Values:
    """The weight of each of `size` things in each bootstrap resample, as a share; [RESAMPLES, size]."""
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=RESAMPLES) / size
