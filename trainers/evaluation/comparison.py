"""How much two arms of a study differ: paired by problem, over several seeds, with an interval.

An arm's `Table` has one value per (seed, problem) for each stratum, of the same held-out problems for every arm and
seed. A band is the mean of its strata, so that a stratum with more problems weighs no more. Intervals are percentile
bootstraps over both factors of the crossed design: seeds and, within each stratum, problems are drawn anew, and each
drawn seed meets each drawn problem. Pure arithmetic on arrays; which arms are compared, and what follows, is
`cluster.study.claims`.
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

RESAMPLES: Final = 2000
LEVEL: Final = 0.95

Values = NDArray[np.float64]

Metric = Literal["verified", "outcome", "gap", "process"]
"""pass@k by verified traces, or by answers alone; the second less the first; the mean process accuracy (k is 1)."""


@dataclass(frozen=True)
class Table:
    """Values [seeds, problems] for each stratum by name. Every stratum has the same number of seeds, at least one."""

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


def table(evaluations: Sequence[Evaluation], bands: Bands, band: str, metric: Metric, k: int) -> Table:
    """What an arm scored in a band, by the evaluation of each seed. Raises ValueError where their problems differ."""
    chosen = [[s for s in e.scores if bands.holds(band, s.stratum)] for e in evaluations]
    if any([s.problem_id for s in scores] != [s.problem_id for s in chosen[0]] for scores in chosen):
        raise ValueError("a table needs the same problems, in the same order, for every seed")
    strata: dict[str, list[list[float]]] = {}
    for number, scores in enumerate(chosen):
        for score in scores:
            rows = strata.setdefault(score.stratum.name, [[] for _ in chosen])
            rows[number].append(value(score, metric, k))
    return Table({name: np.asarray(rows) for name, rows in strata.items()})


def value(score: ProblemScore, metric: Metric, k: int) -> float:
    """One problem's score by a metric. Raises ValueError for a k beyond its samples."""
    if metric == "process":
        return score.process_accuracy or 0.0
    outcome = _pass_at_k(score.samples, score.outcome, k) if metric != "verified" else 0.0
    verified = _pass_at_k(score.samples, score.strict or 0, k) if metric != "outcome" else 0.0
    return {"verified": verified, "outcome": outcome, "gap": outcome - verified}[metric]


_pass_at_k = lru_cache(pass_at_k)


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
    """How often each of `size` things is drawn when as many are drawn anew, as a share; [RESAMPLES, size]."""
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=RESAMPLES) / size
