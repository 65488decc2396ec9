"""Mixtures: which cells of the task grid a stream of problems is drawn from, in which shares, within which budget.

Not here: the paper's mixtures by name (`verifier.graphs.presets`) and drawing problems (`verifier.graphs.splits`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from verifier.errors import BadMixture
from verifier.graphs.generate import check_spec
from verifier.graphs.problem import DEFAULT_MAX_ANSWER, DEFAULT_MAX_CONSTANT, Mode, ProblemSpec, Template
from verifier.mixture import check_shares, place_at


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
    _specs: tuple[ProblemSpec, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        check_shares([cell.share for cell in self.cells])
        object.__setattr__(self, "_specs", tuple(self.spec(cell) for cell in self.cells))
        for spec in self._specs:
            check_spec(spec)

    def spec(self, cell: Cell) -> ProblemSpec:
        """What to make for one of the cells."""
        limits = self.max_facts, self.max_answer, self.max_constant
        return ProblemSpec(cell.op, cell.mode, cell.template, cell.depth, *limits)

    def spec_at(self, seed: int, index: int) -> ProblemSpec:
        """The spec of problem `index` of the stream `seed`: a cell drawn by its share."""
        return self._specs[place_at([cell.share for cell in self.cells], seed, index)]

    def only(self, mode: Mode | None = None, template: Template | None = None) -> Mixture:
        """The cells of one mode, one template or both, with shares scaled up to 1.

        Raises BadMixture where none is left.
        """
        kept = [cell for cell in self.cells if mode in (None, cell.mode) and template in (None, cell.template)]
        return replace(self, cells=scaled(kept))


def scaled(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells with shares divided by their sum.

    Raises BadMixture where the sum is 0.
    """
    total = math.fsum(cell.share for cell in cells)
    if total <= 0:
        raise BadMixture("the preset has no problems of this mode or template")
    return tuple(replace(cell, share=cell.share / total) for cell in cells)


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
