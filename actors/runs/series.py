"""Numbers over the steps of a stage, and the points that stand for many of them in a picture. Pure arithmetic.

The rule of thinning: a curve of more than POINTS values is cut into stretches of equally many steps, and each gives its
smallest and its largest value, at their own steps; the first and the last value are kept too. So a picture shows every
peak, and no value that the run did not have (Jugel et al., M4, VLDB 2014).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

POINTS: Final = 1000
"""Most points of a curve: more than a picture of 1,240 pixels can show apart."""
MAX_CURVES: Final = 64
"""Most curves of a series: more strata than that are not drawn."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Values at rising steps; steps without a finite value are left out."""

    steps: list[int]
    values: list[float]


class Series:
    """Numbers by name, a row for each step. A step that comes again takes the place of itself and of all after it."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.rewinds = 0
        self.left_out: set[str] = set()
        self._values: dict[str, array[float]] = {}

    @property
    def names(self) -> list[str]:
        """The curves, in the order in which they first came."""
        return list(self._values)

    def put(self, step: int, row: Mapping[str, Any]) -> None:
        """Add the finite numbers of a row. Beyond MAX_CURVES names, new ones are left out."""
        self._rewind(step)
        for name in (name for name in row if name not in self._values):
            self._begin(name)
        self.steps.append(step)
        for name, values in self._values.items():
            number = finite(row.get(name))
            values.append(math.nan if number is None else number)

    def _rewind(self, step: int) -> None:
        keep = bisect_left(self.steps, step)
        if keep < len(self.steps):
            self.rewinds += 1
            for column in (self.steps, *self._values.values()):
                del column[keep:]

    def _begin(self, name: str) -> None:
        if len(self._values) < MAX_CURVES:
            self._values[name] = array("d", [math.nan] * len(self.steps))
        else:
            self.left_out.add(name)

    def within(self, first: int, last: int) -> range:
        """The rows of the steps from `first` to `last`."""
        return range(bisect_left(self.steps, first), bisect_right(self.steps, last))

    def curve(self, name: str, rows: range, points: int = POINTS) -> Curve:
        """A curve over some rows, thinned to at most `points` values."""
        steps = np.array(self.steps[rows.start : rows.stop])
        values = np.array(self._values[name][rows.start : rows.stop])
        known = np.flatnonzero(np.isfinite(values))
        chosen = known[standing_for(values[known], points)]
        return Curve(steps[chosen].tolist(), values[chosen].tolist())

    def row(self, place: int) -> dict[str, float | None]:
        """The numbers of one row; None where the step lacks one."""
        return {name: finite(values[place]) for name, values in self._values.items()}


def standing_for(values: NDArray[np.float64], points: int) -> NDArray[np.intp]:
    """The places of at most `points` values that stand for all: of each stretch the extremes, and both ends."""
    count, stretches = len(values), (points - 2) // 2
    if count <= points:
        return np.arange(count)
    width = -(-count // stretches)
    padded = np.append(values, np.full(stretches * width - count, values[-1])).reshape(stretches, width)
    starts = np.arange(stretches) * width
    found = np.concatenate([starts + padded.argmin(axis=1), starts + padded.argmax(axis=1), [0]])
    return np.unique(np.minimum(np.append(found, count - 1), count - 1))


def finite(value: Any) -> float | None:
    """A value of a log as a float; None for what is no finite number."""
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    except OverflowError:  # JSON knows integers of any size
        return None
