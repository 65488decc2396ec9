"""The budget of a training stage, in optimiser steps, FLOPs or the paper's unit, and what the stage has spent of each.

A stage ends with the first step that reaches or exceeds its budget, so it exceeds the budget by less than one step.
What it has spent is saved in its checkpoints, so a resumed stage ends with the same step. The counting is done by
`trainers.evaluation.ledger`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Unit = Literal["steps", "flops", "paper_tokens"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a stage has spent since its beginning.

    `tokens` are those that the learner computed (of an evaluation: those drawn), `flops` those of learning and drawing
    together, `paper_tokens` the equivalent in training tokens as the paper counts it.
    """

    steps: int = 0
    tokens: int = 0
    flops: float = 0.0
    paper_tokens: float = 0.0


NOTHING: Final = Spent()


class Budget(NamedTuple):
    """An amount of one unit."""

    unit: Unit
    amount: float

    def share(self, spent: Spent) -> float:
        """The share of the budget that is spent, from 0 to 1."""
        return min(1.0, self._of(spent) / self.amount)

    def reached(self, spent: Spent) -> bool:
        """Whether the budget is spent, which ends the stage."""
        return self._of(spent) >= self.amount

    def steps(self, spent: Spent, since: Spent = NOTHING) -> int:
        """Steps in total, estimated from the mean cost of those since `since`; 0 before the first of them."""
        if self.unit == "steps":
            return int(self.amount)
        cost = self._of(spent) - self._of(since)
        left = max(0.0, self.amount - self._of(spent))
        return spent.steps + round(left * (spent.steps - since.steps) / cost) if cost else 0

    def _of(self, spent: Spent) -> float:
        return getattr(spent, self.unit)

    def __str__(self) -> str:
        return f"{self.amount:,.0f} steps" if self.unit == "steps" else f"{self.amount:.4g} {self.unit}"


class Budgeted(BaseModel):
    """The keys for the length of a training stage, of which exactly one is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flops: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="instead of steps: what the stage spends on learning and drawing [FLOPs]",
    )
    paper_tokens: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="instead of steps: learned; of RL (5/3) x completions x longest sequence [tokens]",
    )
    steps: int | None = Field(
        default=None,
        validate_default=True,
        ge=1,
        description="length of the stage, unless flops or paper_tokens say it [learner steps]",
    )

    @field_validator("steps")
    @classmethod
    def _one_budget(cls, steps: int | None, info: ValidationInfo) -> int | None:
        others = [unit for unit in ("flops", "paper_tokens") if info.data.get(unit, math.nan) is not None]
        said = [*others, *(["steps"] if steps is not None else [])]
        if len(said) != 1:
            raise ValueError(f"set exactly one of steps, flops and paper_tokens, not {' and '.join(said) or 'none'}")
        return steps

    @property
    def budget(self) -> Budget:
        """The budget that is set."""
        if self.steps is not None:
            return Budget("steps", self.steps)
        if self.flops is not None:
            return Budget("flops", self.flops)
        assert self.paper_tokens is not None, "one of them is set"
        return Budget("paper_tokens", self.paper_tokens)
