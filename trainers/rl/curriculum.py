"""What to ask next: the choice of a task cell for every group, and what the results teach about it.

A pure function of the seed and of the results reported in step order, so that a resumed run asks the same questions.
The `edge` curriculum follows the paper's finding 1 (RL pays at the edge of competence): a Beta posterior of the pass
rate per cell, a Thompson draw of each, and the cell whose p(1 - p) is largest; a floor keeps every cell in play.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from verifier.graphs.generate import generate
from verifier.graphs.problem import Problem, ProblemSpec
from verifier.graphs.splits import Mixture, split_of
from verifier.seeds import derive

UNIFORM_FLOOR = 0.1  # the share of groups drawn from the mixture whatever the posterior says
FORGETTING = 0.97  # per step; the policy moves, old results fade
SPLIT_TRIES = 10_000  # a cell whose problems all belong to the test split would be a fault in the split


class Curriculum:
    """Chooses the problem of every slot. `kind` "mixture" draws cells by their shares; "edge" adapts."""

    def __init__(self, mixture: Mixture, seed: int, kind: Literal["mixture", "edge"]) -> None:
        self.mixture = mixture
        self.seed = seed
        self.kind = kind
        self.beta: list[tuple[float, float]] = [(1.0, 1.0)] * len(mixture.cells)

    def problem(self, step: int, place: int, attempt: int) -> Problem:
        """The training problem of one slot, given what was reported for earlier steps."""
        draw = random.Random(derive(self.seed, "cell", step, place, attempt))  # noqa: S311  # no secret
        cell = self._cell(draw)
        spec = self._spec(cell)
        for attempt_at_split in range(SPLIT_TRIES):
            problem = generate(spec, derive(self.seed, "problem", step, place, attempt, attempt_at_split))
            if split_of(problem) == "train":
                return problem
        raise AssertionError(f"no training problem of {spec} in {SPLIT_TRIES} draws")

    def report(self, specs: Sequence[ProblemSpec], passes: Sequence[Sequence[bool]]) -> None:
        """Learn from one step: for each group its spec and whether each sample was verified."""
        self.beta = [(1 + (a - 1) * FORGETTING, 1 + (b - 1) * FORGETTING) for a, b in self.beta]
        places = {self._spec(i): i for i in range(len(self.mixture.cells))}
        for spec, passed in zip(specs, passes, strict=True):
            a, b = self.beta[places[spec]]
            self.beta[places[spec]] = (a + sum(passed), b + len(passed) - sum(passed))

    def state(self) -> list[tuple[float, float]]:
        """What a checkpoint keeps."""
        return list(self.beta)

    def restore(self, state: Sequence[Sequence[float]]) -> None:
        """Take up a checkpoint's state."""
        self.beta = [(float(a), float(b)) for a, b in state]

    def _cell(self, draw: random.Random) -> int:
        cells = range(len(self.mixture.cells))
        shares = [cell.share for cell in self.mixture.cells]
        if self.kind == "mixture" or draw.random() < UNIFORM_FLOOR:
            return draw.choices(cells, shares)[0]
        rates = [draw.betavariate(a, b) for a, b in self.beta]
        return max(cells, key=lambda i: rates[i] * (1 - rates[i]))

    def _spec(self, cell: int) -> ProblemSpec:
        return self.mixture.spec(self.mixture.cells[cell])
