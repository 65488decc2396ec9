"""Estimates from judged samples: unbiased pass@k and bootstrap intervals over problems.

Plain Python on plain numbers. The unit of resampling is always the problem, within its stratum, never the sample:
samples of one problem are not independent of one another. What is said of one prompt alone has Wilson's interval.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import comb, fsum, sqrt

RESAMPLES = 1000
_Z_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over problems with its bootstrap interval."""

    mean: float
    lo: float
    hi: float


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate of pass@k from `c` right samples among `n`: 1 - C(n - c, k) / C(n, k).

    Raises:
        ValueError: not 0 <= c <= n, or not 1 <= k <= n (fewer samples than k say nothing about pass@k).
    """
    if not 0 <= c <= n:
        raise ValueError(f"{c} right samples among {n} is not possible")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples per problem, not {n}")
    return 1.0 - comb(n - c, k) / comb(n, k)


def wilson(n: int, c: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share: `c` of `n` independent draws."""
    share, square = c / n, _Z_95**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _Z_95 / (1 + square / n) * sqrt(share * (1 - share) / n + square / (4 * n * n))
    return (0.0 if c == 0 else middle - half, 1.0 if c == n else middle + half)


def bootstrap_interval(strata: Sequence[Sequence[float]], seed: int, level: float = 0.95) -> Interval:
    """The mean of one value per problem with its percentile bootstrap interval; the same seed gives the same interval.

    `strata` holds the values of each stratum. Problems are drawn anew within each, so that how many problems a stratum
    has, which nobody drew, does not widen the interval.

    Raises:
        ValueError: no stratum, one without a value, or a level outside (0, 1).
    """
    if not strata or not all(strata):
        raise ValueError("an interval needs at least one value in each stratum")
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of an interval lies in (0, 1), not {level}")
    draw = random.Random(seed)  # noqa: S311 - a statistic, not a secret
    size = sum(map(len, strata))
    drawn = (chain.from_iterable(draw.choices(values, k=len(values)) for values in strata) for _ in range(RESAMPLES))
    means = sorted(fsum(values) / size for values in drawn)
    tail = (1.0 - level) / 2.0
    low = means[round(tail * (RESAMPLES - 1))]
    high = means[round((1.0 - tail) * (RESAMPLES - 1))]
    return Interval(fsum(chain.from_iterable(strata)) / size, low, high)


def paired_interval(
    before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], seed: int, level: float = 0.95
) -> Interval:
    """The mean difference after - before, problem by problem, with its bootstrap interval; values of each stratum.

    Raises:
        ValueError: the two do not hold one value for each of the same problems.
    """
    if (held := list(map(len, before))) != (other := list(map(len, after))):
        raise ValueError(f"a paired comparison needs the same problems on both sides, not {held} and {other}")
    differences = [[b - a for a, b in zip(*pair, strict=True)] for pair in zip(before, after, strict=True)]
    return bootstrap_interval(differences, seed, level)
