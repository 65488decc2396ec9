"""Mixtures: which cells of the task grid a stream of problems is drawn from, in which shares, within which budget.

Not here: the paper's mixtures by name (`verifier.graphs.presets`) and drawing problems (`verifier.graphs.splits`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal

from verifier.errors import BadMixture
from verifier.graphs.generate import check_spec
from verifier.graphs.problem import DEFAULT_MAX_ANSWER, DEFAULT_MAX_CONSTANT, Mode, ProblemSpec, Template

SHARE_TOLERANCE = 1e-9

_MASK = (1 << 64) - 1


def mix(*parts: int) -> int:
    """A 63-bit number from integers: independent-looking for any change in any part (splitmix64 finaliser)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the task grid and its share of the mixture, in [0, 1]."""

    op: int
    mode: Mode
    template: Template
    share: float
    depth: int = 2


@dataclass(frozen=True, slots=True)
class Mixture:
    """Cells whose shares sum to 1, and what their problems have in common.

    Raises BadMixture where the shares make no sense and ImpossibleSpec where a cell cannot be made.
    """

    cells: tuple[Cell, ...]
    max_facts: int | None = None
    max_answer: int = DEFAULT_MAX_ANSWER
    max_constant: int = DEFAULT_MAX_CONSTANT
    _bounds: tuple[float, ...] = field(init=False, repr=False, compare=False, default=())
    _specs: tuple[ProblemSpec, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        check_shares([cell.share for cell in self.cells])
        object.__setattr__(self, "_bounds", tuple(accumulate(cell.share for cell in self.cells)))
        object.__setattr__(self, "_specs", tuple(self.spec(cell) for cell in self.cells))
        for spec in self._specs:
            check_spec(spec)

    def spec(self, cell: Cell) -> ProblemSpec:
        """What to make for one of the cells."""
        limits = self.max_facts, self.max_answer, self.max_constant
        return ProblemSpec(cell.op, cell.mode, cell.template, cell.depth, *limits)

    def spec_at(self, seed: int, index: int) -> ProblemSpec:
        """The spec of problem `index` of the stream `seed`: a cell drawn by its share."""
        draw = mix(seed, index, _CELL_DRAW) / (1 << 63)
        return self._specs[min(bisect_right(self._bounds, draw), len(self._specs) - 1)]

    def only(self, mode: Mode | None = None, template: Template | None = None) -> Mixture:
        """The cells of one mode, one template or both, with shares scaled up to 1.

        Raises BadMixture where none is left.
        """
        kept = [cell for cell in self.cells if mode in (None, cell.mode) and template in (None, cell.template)]
        return replace(self, cells=scaled(kept))


_CELL_DRAW = 1


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


def scaled(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells with shares divided by their sum.

    Raises BadMixture where the sum is 0.
    """
    total = math.fsum(cell.share for cell in cells)
    if total <= 0:
        raise BadMixture("no cell with a share above 0 is left")
    return tuple(replace(cell, share=cell.share / total) for cell in cells)


def largest_remainder(shares: Sequence[float], total: int) -> tuple[int, ...]:
    """Whole numbers that sum to `total` and follow the shares (which sum to 1); ties go to the earlier one."""
    exact = [share * total for share in shares]
    counts = [math.floor(amount) for amount in exact]
    order = sorted(range(len(exact)), key=lambda place: (counts[place] - exact[place], place))
    for place in order[: total - sum(counts)]:
        counts[place] += 1
    return tuple(counts)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much data: a number of problems, or of tokens of training text."""

    amount: int
    unit: Literal["problems", "tokens"]


def by_tokens(mixture: Mixture, mean_tokens: Callable[[ProblemSpec], float]) -> Mixture:
    """The mixture whose *problem* shares give the token shares that `mixture` states.

    `mean_tokens` says how long the training texts of a cell are (`verifier.graphs.splits.mean_length` measures it).
    """
    cells = [replace(cell, share=cell.share / mean_tokens(mixture.spec(cell))) for cell in mixture.cells]
    return replace(mixture, cells=scaled(cells))


def problems_per_cell(
    mixture: Mixture, budget: Budget, mean_tokens: Callable[[ProblemSpec], float] | None = None
) -> tuple[int, ...]:
    """How many problems of each cell a budget buys.

    Shares are fractions of the budget: of its problems, or of its tokens, and then `mean_tokens` says how long the
    training texts of a cell are; counts are rounded down, so that no budget is exceeded on average. Raises BadMixture
    where the budget is not positive or `mean_tokens` is missing.
    """
    if budget.amount < 1:
        raise BadMixture(f"a budget is at least 1, not {budget.amount} {budget.unit}")
    shares = [cell.share for cell in mixture.cells]
    if budget.unit == "problems":
        return largest_remainder(shares, budget.amount)
    if mean_tokens is None:
        raise BadMixture("a token budget needs the mean number of tokens of each cell")
    return tuple(int(budget.amount * cell.share / mean_tokens(mixture.spec(cell))) for cell in mixture.cells)
