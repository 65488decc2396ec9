"""The settings of a study: a base recipe, arms as changes to it, seeds, budgets, and claims with their rules.

A study is YAML, read like a recipe. An arm is a map of key path to value, as on the command line of `interplay run`;
a whole stage may be replaced (`stages.rl: {kind: sft, ...}`) or dropped (`stages.rl: null`). A scale is another map of
changes, applied before every arm's own: the same study at another size; where an arm's own numbers belong to one size,
a scale has others for it. Nothing here resolves a recipe; that is `cluster.study.plan`.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cluster.study.claims import BASE, Claim

Changes = dict[str, Any]
"""Key path -> value; the changes are applied to a recipe in order."""

NAME = r"^[a-z][a-z0-9-]{0,23}$"
COMPUTE_TOLERANCE = 0.01
SHARED = "shared"
"""The folder, beside the studies, of the runs that several arms share; no study and no arm has this name."""
BEFORE, AFTER = "before", "after"
"""The two evaluations in a study's recipe: of the model that an arm starts from, and of the one it ends with."""
Unit = Literal["flops", "paper_tokens", "samples"]
"""What can be equal between arms: FLOPs of training, tokens as the paper counts them, completions drawn in RL."""


class Scale(BaseModel):
    """A size at which the study can be run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str = Field(description="the recipe that every arm changes: a shipped name or a YAML file")
    changes: Changes = Field(default={}, description="changes to the recipe, applied before an arm's own")
    arms: dict[str, Changes] = Field(default={}, description="further changes to some arms, applied after their own")


class Arm(BaseModel):
    """One condition of a study: what it changes, and why it is there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    says: str = Field(min_length=1, description="the arm in a few words, for tables and figures")
    changes: Changes = Field(min_length=1, description="changes to the scale's recipe")
    control: bool = Field(
        default=False, description="set for an arm that is not in the paper, to compare with one that is"
    )


class Study(BaseModel):
    """A comparison: every arm for every seed, and the claims that its results decide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    question: str = Field(min_length=1)
    scales: dict[str, Scale] = Field(min_length=1, description="sizes by name; `interplay study --scale` picks one")
    arms: dict[Annotated[str, Field(pattern=NAME)], Arm] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, le=9999)], ...] = Field(default=(0, 1, 2), min_length=1)
    equal: Unit = Field(description=f"what the arms of a claim may differ in by {COMPUTE_TOLERANCE:.0%} at most")
    claims: tuple[Claim, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_make_sense(self) -> Self:
        _refuse_repeats("seeds", [str(seed) for seed in self.seeds])
        _refuse_repeats("claims", [claim.name for claim in self.claims])
        if BASE in self.arms:
            raise ValueError(f"arms.{BASE}: this name means the evaluation before any arm; give the arm another name")
        if SHARED in self.arms:
            raise ValueError(f"arms.{SHARED}: this is the folder of shared stages; give the arm another name")
        if self.name == SHARED:
            raise ValueError(f"name: {SHARED!r} is the folder of shared stages; give the study another name")
        known = {BASE, *self.arms}
        for claim in self.claims:
            if strange := [arm for arm in claim.arms if arm not in known]:
                raise ValueError(f"claims.{claim.name}: no arm {strange[0]!r}; the arms are {', '.join(sorted(known))}")
        return self


def _refuse_repeats(what: str, names: list[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{what}: {repeated[0]!r} occurs twice")
