"""Claims: sentences about arms, each with the rule that decides it, written down before the first run.

A claim compares one arm with one or more others on one band, by one metric at one k. It is `supported`, `refuted` or
`not resolved`; a claim against several arms is supported when it holds against each of them, and refuted when it is
refuted against one. Nothing here reads files: arms come as `trainers.evaluation.comparison.Table`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainers.evaluation.comparison import Estimate, Metric, Table, Terms, estimate

BASE = "base"
"""The arm that every study has: the evaluation before any arm's training."""
LEAST_SEEDS = 2
"""With one seed nothing is known of the spread between seeds, and an interval is about other problems alone."""


class Decision(StrEnum):
    """The outcome of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    NOT_RESOLVED = "not resolved"


class _Claim(BaseModel):
    """The keys that all claims have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$", description="its name in tables and links")
    says: str = Field(min_length=1, description="the claim as one sentence")
    arm: str = Field(description="the arm that the claim is about")
    against: tuple[str, ...] = Field(min_length=1, description=f"the arms it is compared with; {BASE!r} is the start")
    band: str = Field(description="one of the recipe's bands")
    metric: Metric = Field(
        default="verified",
        description="verified and outcome: pass@k; gap: outcome less verified; process: mean process accuracy, k = 1; "
        "recovery: mean share of completions that recovered from a planted error, k = 1",
    )
    k: int = Field(default=1, ge=1, description="of pass@k; at most half of the samples of the evaluation")

    @model_validator(mode="after")
    def _two_arms(self) -> Self:
        if self.arm in self.against or len(set(self.against)) != len(self.against):
            raise ValueError("names an arm twice")
        if self.metric in ("process", "recovery") and self.k != 1:
            raise ValueError(f"k: the metric {self.metric} has no k; leave it out")
        return self

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms that the claim names."""
        return (self.arm, *self.against)


class Greater(_Claim):
    """The arm's value is greater than each of the others'.

    Supported against one: the difference is positive for every seed, its 95% interval lies above 0, and it exceeds
    twice the standard deviation between seeds. Refuted: the same with the opposite sign.
    """

    rule: Literal["greater"] = "greater"

    def decide(self, difference: Estimate) -> Decision:
        """The decision on one pair."""
        if _clearly_positive(difference):
            return Decision.SUPPORTED
        return Decision.REFUTED if _clearly_positive(_negated(difference)) else Decision.NOT_RESOLVED

    def rule_in_words(self) -> str:
        """The rule, for the report."""
        return (
            "supported: positive for every seed, 95% interval above 0, larger than twice the spread between seeds; "
            "refuted: the same with the opposite sign"
        )


class Unchanged(_Claim):
    """The arm's value is within `margin` of each of the others'.

    Supported against one: the 95% interval of the difference lies within the margin. Refuted: it lies outside of it.
    """

    rule: Literal["unchanged"] = "unchanged"
    margin: float = Field(gt=0, le=1, description="largest difference that counts as none, in units of the metric")

    def decide(self, difference: Estimate) -> Decision:
        """The decision on one pair."""
        if -self.margin <= difference.lo and difference.hi <= self.margin:
            return Decision.SUPPORTED
        outside = difference.lo > self.margin or difference.hi < -self.margin
        return Decision.REFUTED if outside else Decision.NOT_RESOLVED

    def rule_in_words(self) -> str:
        """The rule, for the report."""
        return (
            f"supported: 95% interval of the difference within -{self.margin:g} to +{self.margin:g}; "
            "refuted: it lies outside"
        )


Claim = Annotated[Greater | Unchanged, Field(discriminator="rule")]


@dataclass(frozen=True, slots=True)
class Side:
    """One arm of a claim: on what terms it was evaluated, and its values of the claim's band, metric and k."""

    terms: Terms
    table: Table


@dataclass(frozen=True, slots=True)
class Comparison:
    """One pair of a claim: `difference` is the claim's arm less this one; `why_none` says why there is none."""

    against: str
    difference: Estimate | None
    decision: Decision
    why_none: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim with its decision. While runs are `missing` it is not resolved, whatever the other comparisons say."""

    decision: Decision
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...] = ()


def decide(claim: Greater | Unchanged, sides: Mapping[str, Side], missing: Sequence[str] = ()) -> Verdict:
    """Decide a claim from its arms, at the same seeds.

    `missing` names the runs that the tables lack; without any common seed there are no sides. What cannot be compared
    is not resolved, and says why; nor is what was run with one seed.
    """
    if not sides:
        return Verdict(Decision.NOT_RESOLVED, (), tuple(missing))
    comparisons = tuple(_compared(claim, sides[claim.arm], other, sides[other]) for other in claim.against)
    decision = Decision.NOT_RESOLVED if missing else _all_of([c.decision for c in comparisons])
    return Verdict(decision, comparisons, tuple(missing))


def _compared(claim: Greater | Unchanged, arm: Side, name: str, other: Side) -> Comparison:
    if why := arm.terms.unlike(other.terms):
        return Comparison(name, None, Decision.NOT_RESOLVED, f"not evaluated alike: {why}")
    difference = estimate(arm.table.minus(other.table))
    if difference is None:
        judged = "completions of a planted error" if claim.metric == "recovery" else f"{claim.k} judged samples"
        why = f"in some stratum no problem has {judged} on both sides at every seed"
        return Comparison(name, None, Decision.NOT_RESOLVED, why)
    alone = len(difference.per_seed) < LEAST_SEEDS
    return Comparison(name, difference, Decision.NOT_RESOLVED if alone else claim.decide(difference))


def _all_of(decisions: list[Decision]) -> Decision:
    if Decision.REFUTED in decisions:
        return Decision.REFUTED
    return Decision.SUPPORTED if set(decisions) == {Decision.SUPPORTED} else Decision.NOT_RESOLVED


def _clearly_positive(difference: Estimate) -> bool:
    return min(difference.per_seed) > 0 and difference.lo > 0 and difference.mean > 2 * difference.spread


def _negated(difference: Estimate) -> Estimate:
    turned = tuple(-value for value in difference.per_seed)
    return Estimate(-difference.mean, -difference.hi, -difference.lo, turned)
