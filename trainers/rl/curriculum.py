"""What to ask next: the choice of a stratum for every group, and what the results teach about it.

A pure function of the seed and of the results reported in step order, so that a resumed run asks the same questions.
The `frontier` curriculum follows the paper's finding 1 (RL pays at the edge of competence): a Beta posterior of the
success rate per stratum, a Thompson draw of each, and the stratum whose p(1 - p) is largest; a floor keeps every
stratum in play.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from verifier.mixture import Mixture
from verifier.seeds import derive
from verifier.task import Item, Stratum, Task

UNIFORM_FLOOR = 0.1  # the share of groups drawn from the mixture whatever the posterior says
FORGETTING = 0.97  # per step; the policy moves, old results fade


class Curriculum:
    """Chooses the item of every slot. `kind` "mixture" draws strata by their shares; "frontier" adapts."""

    def __init__(self, task: Task, mixture: Mixture, seed: int, kind: Literal["mixture", "frontier"]) -> None:
        self.task = task
        self.mixture = mixture
        self.seed = seed
        self.kind = kind
        self.beta: list[tuple[float, float]] = [(1.0, 1.0)] * len(mixture.strata)

    def item(self, step: int, place: int, attempt: int) -> Item:
        """The training item of one slot, given what was reported for earlier steps."""
        draw = random.Random(derive(self.seed, "cell", step, place, attempt))  # noqa: S311  # no secret
        return self.task.item(self._stratum(draw), self.seed, (step, place, attempt), "train")

    def report(self, strata: Sequence[Stratum], solved: Sequence[Sequence[bool]]) -> None:
        """Learn from one step: for each group its stratum and which samples were solved."""
        self.beta = [(1 + (a - 1) * FORGETTING, 1 + (b - 1) * FORGETTING) for a, b in self.beta]
        places = {stratum: place for place, stratum in enumerate(self.mixture.strata)}
        for stratum, group in zip(strata, solved, strict=True):
            a, b = self.beta[places[stratum]]
            self.beta[places[stratum]] = (a + sum(group), b + len(group) - sum(group))

    def state(self) -> list[tuple[float, float]]:
        """What a checkpoint keeps."""
        return list(self.beta)

    def restore(self, state: Sequence[Sequence[float]]) -> None:
        """Take up a checkpoint's state."""
        self.beta = [(float(a), float(b)) for a, b in state]

    def _stratum(self, draw: random.Random) -> Stratum:
        strata = self.mixture.strata
        if self.kind == "mixture" or draw.random() < UNIFORM_FLOOR:
            return draw.choices(strata, self.mixture.shares)[0]
        rates = [draw.betavariate(a, b) for a, b in self.beta]
        return strata[max(range(len(strata)), key=lambda i: rates[i] * (1 - rates[i]))]
