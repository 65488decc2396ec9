"""The curriculum: it chooses a stratum for every group, and learns from the results.

Pure: a state is a value, computed from the state before and the results of a step in slot order, so a resumed run draws
the same items, whatever the order in which groups arrived. The `frontier` curriculum follows the paper's finding 1 (RL
helps at the edge of competence): it keeps a Beta posterior of the success rate p per stratum, and gives each stratum a
share of the groups in proportion to the posterior mean of p(1 - p), the variance of a binary reward. A floor keeps
every stratum in use.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from verifier.mixture import Mixture
from verifier.seeds import derive
from verifier.task import Item, Stratum, Task

FLOOR: Final = 0.1  # the part of the shares that follows the mixture, whatever the posterior
MEMORY: Final = 512  # samples per stratum after which a result counts 1/e, since the policy changes

State = tuple[tuple[float, float], ...]
"""Per stratum the faded counts of samples solved and not solved: the Beta posterior's parameters less one."""


@dataclass(frozen=True, slots=True)
class StratumView:
    """What the curriculum knows of a stratum: its share of the groups, and the posterior mean of its pass rate."""

    share: float
    pass_rate: float


class Curriculum:
    """Chooses the item of every slot. `kind` "mixture" draws strata by their shares; "frontier" adapts."""

    def __init__(self, task: Task, mixture: Mixture, seed: int, kind: Literal["mixture", "frontier"]) -> None:
        self.task = task
        self.mixture = mixture
        self.seed = seed
        self.kind = kind

    def beginning(self) -> State:
        """The state before the first step, when nothing is known."""
        return ((0.0, 0.0),) * len(self.mixture.strata)

    def after(self, state: State, strata: Sequence[Stratum], solved: Sequence[Sequence[bool]]) -> State:
        """The state after one step, given each group's stratum and which of its samples were solved, in slot order."""
        fading = math.exp(-sum(map(len, solved)) / (MEMORY * len(state)))
        counts = [(a * fading, b * fading) for a, b in state]
        places = {stratum: place for place, stratum in enumerate(self.mixture.strata)}
        for stratum, group in zip(strata, solved, strict=True):
            a, b = counts[places[stratum]]
            counts[places[stratum]] = (a + sum(group), b + len(group) - sum(group))
        return tuple(counts)

    def shares(self, state: State) -> tuple[float, ...]:
        """The probability of each stratum; they sum to 1."""
        if self.kind == "mixture":
            return self.mixture.shares
        gains = [_gain(a + 1, b + 1) for a, b in state]
        return tuple(
            FLOOR * share + (1 - FLOOR) * gain / sum(gains)
            for share, gain in zip(self.mixture.shares, gains, strict=True)
        )

    def view(self, state: State) -> dict[Stratum, StratumView]:
        """Shares and pass rates by stratum, for metrics."""
        views = zip(self.mixture.strata, self.shares(state), state, strict=True)
        return {s: StratumView(share, (a + 1) / (a + b + 2)) for s, share, (a, b) in views}

    def item(self, state: State, step: int, place: int, attempt: int) -> Item:
        """The training item of a slot, given the state at the time the step is drawn."""
        draw = random.Random(derive(self.seed, "cell", step, place, attempt))  # noqa: S311  # no secret
        stratum = draw.choices(self.mixture.strata, self.shares(state))[0]
        return self.task.item(stratum, self.seed, (step, place, attempt), "train")


def _gain(a: float, b: float) -> float:
    """The mean of p(1 - p) under Beta(a, b)."""
    return a * b / ((a + b) * (a + b + 1))
