"""How much two arms differ: paired by problem, over several seeds, with an interval.

An arm is a `Table`: one value per (seed, problem) for each stratum, of the same held-out problems for every arm and
seed. A band is the mean of its strata, so that a stratum with more problems weighs no more. Intervals are percentile
bootstraps over both factors of the crossed design: seeds and, within each stratum, problems are drawn anew, and each
drawn seed meets each drawn problem. Pure arithmetic on arrays; which arms are compared, and what follows, is
`cluster.study.claims`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2000
LEVEL: Final = 0.95

Values = NDArray[np.float64]


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


def estimate(table: Table, seed: int = 0) -> Estimate:
    """The mean of a table and its interval; the same seed gives the same interval."""
    drawn = _resampled_means(table, np.random.default_rng(seed))
    tail = (1 - LEVEL) / 2
    lo, hi = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(float(np.mean(table.per_seed)), float(lo), float(hi), table.per_seed)


def _resampled_means(table: Table, rng: np.random.Generator) -> Values:
    """The mean of each of RESAMPLES tables with seeds and problems drawn anew, [RESAMPLES]."""
    seeds = len(table.per_seed)
    seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    total = np.zeros(RESAMPLES)
    for values in table.strata.values():
        problems = values.shape[1]
        weights = rng.multinomial(problems, np.full(problems, 1 / problems), size=RESAMPLES) / problems
        total += np.einsum("rs,sp,rp->r", seed_weights, values, weights, optimize=True)
    return total / len(table.strata)
