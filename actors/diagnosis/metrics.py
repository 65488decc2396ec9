"""The numbers of an RL step that the rules look at, read from its event; and the steps of a stage so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any

from actors.diagnosis.thresholds import BASELINE, SMOOTH


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One `rl_step` event, as docs/metrics.md describes it; None is what the event lacks or what was not finite.

    `strict` is absent where no steps are judged; what the learner reports is absent where it took no step.
    """

    step: int
    reward: float | None = None
    strict: float | None = None
    outcome: float | None = None
    completion_tokens: float | None = None
    truncated: float | None = None
    no_gradient: float | None = None
    all_solved: float | None = None
    distinct: float | None = None
    verifier_errors: int | None = None
    completions: int | None = None
    updates: int | None = None
    entropy: float | None = None
    gradient_norm: float | None = None
    learning_rate: float | None = None
    mismatch_mean: float | None = None
    mismatch_max: float | None = None
    effective_share: float | None = None
    capped_share: float | None = None
    masked_share: float | None = None
    lag_mean: float | None = None
    skipped: int | None = None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> StepMetrics:
        """The numbers of an event of any version: what it does not have is None."""
        return cls(**{field.name: _finite(event.get(field.name)) for field in fields(cls)})

    @property
    def solved(self) -> float | None:
        """The share of verified completions; of right ones where no steps are judged."""
        return self.outcome if self.strict is None else self.strict


Number = Callable[[StepMetrics], float | None]


@dataclass(frozen=True, slots=True)
class History:
    """The steps of a stage in order: the first of them, and all or the newest."""

    first: Sequence[StepMetrics]
    steps: Sequence[StepMetrics]

    @classmethod
    def of(cls, steps: Sequence[StepMetrics], newest: int | None = None) -> History:
        """A history of these steps, of which the rules look at the `newest` ones."""
        return cls(steps[:BASELINE], steps if newest is None else steps[-newest:])

    def at_start(self, number: Number) -> float | None:
        """The mean over the first BASELINE steps; None before they are there."""
        known = _known(map(number, self.first))
        return fmean(known) if len(known) == BASELINE else None

    def later(self) -> list[StepMetrics]:
        """The steps after the first BASELINE."""
        return [step for step in self.steps if step.step > self.first[-1].step] if self.first else []

    def smooth(self, number: Number) -> dict[int, float]:
        """By step, the mean over it and the steps before it, SMOOTH in all; only where so many are known."""
        found: dict[int, float] = {}
        for place in range(SMOOTH, len(self.steps) + 1):
            known = _known(map(number, self.steps[place - SMOOTH : place]))
            if len(known) == SMOOTH:
                found[self.steps[place - 1].step] = fmean(known)
        return found


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def mean(steps: Sequence[StepMetrics], number: Number) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = _known(map(number, steps))
    return fmean(known) if known else None
