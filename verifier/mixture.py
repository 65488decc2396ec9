"""Which strata a stream of items is drawn from, and in which shares."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from verifier.errors import BadMixture
from verifier.seeds import mix
from verifier.task import Stratum

SHARE_TOLERANCE = 1e-9
_STRATUM_DRAW = 1


@dataclass(frozen=True, slots=True)
class Mixture:
    """Strata with shares that sum to 1. Raises BadMixture."""

    strata: tuple[Stratum, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.strata):
            raise BadMixture(f"{len(self.shares)} shares for {len(self.strata)} strata: give one for each")
        check_shares(self.shares)

    @classmethod
    def even(cls, strata: Sequence[Stratum]) -> Mixture:
        """The same share for every stratum."""
        return cls(tuple(strata), tuple(1 / len(strata) for _ in strata))

    def at(self, seed: int, index: int) -> Stratum:
        """The stratum of item `index` of the stream `seed`."""
        return self.strata[place_at(self.shares, seed, index)]


def place_at(shares: Sequence[float], seed: int, index: int) -> int:
    """The place of the share that item `index` of the stream `seed` is drawn for."""
    bounds = tuple(accumulate(shares))
    return min(bisect_right(bounds, mix(seed, index, _STRATUM_DRAW) / (1 << 63)), len(bounds) - 1)


def check_shares(shares: Sequence[float]) -> None:
    """Raises BadMixture unless the shares are finite, not negative and sum to 1."""
    if not shares:
        raise BadMixture("a mixture needs at least one cell")
    for place, share in enumerate(shares):
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise BadMixture(f"share {share!r} of cell {place} is not in 0..1")
    total = math.fsum(shares)
    if abs(total - 1) > SHARE_TOLERANCE:
        raise BadMixture(f"the shares sum to {total:.6g}, not to 1: divide each by that sum")
