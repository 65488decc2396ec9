"""How a recipe says which problems: a preset of the paper by name, or ops with one template and mode.

Only the wording; the mixtures themselves, their presets and splits are `verifier.graphs.splits`.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from verifier.graphs.problem import DEFAULT_MAX_ANSWER, DEFAULT_MAX_CONSTANT, MODES, TEMPLATES, Mode, Template
from verifier.graphs.splits import Cell, Mixture, preset


class TaskConfig(BaseModel):
    """The problems of a stage. `shares` default to equal ones; `preset` excludes `ops` and all that shapes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str | None = Field(default=None, description="a mixture of the paper by name")
    ops: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    mode: Mode = MODES[0]
    template: Template = TEMPLATES[0]
    depth: int = Field(default=2, ge=2, le=3)
    max_facts: int | None = Field(default=None, ge=1, description="most sentences of a problem; distractors give way")
    max_answer: int = Field(default=DEFAULT_MAX_ANSWER, ge=1, description="largest answer of a reverse problem")
    max_constant: int = Field(default=DEFAULT_MAX_CONSTANT, ge=1, description="number range: constants are 1 to this")

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if (self.preset is None) == (not self.ops):
            raise ValueError("name either a preset or the ops")
        if self.preset is not None and self != TaskConfig.model_construct(preset=self.preset):
            raise ValueError(f"preset {self.preset!r} says all of its tasks: leave the other fields out")
        if self.shares and len(self.shares) != len(self.ops):
            raise ValueError(f"{len(self.shares)} shares for {len(self.ops)} ops")
        self.mixture()  # raises where the preset is unknown, the shares do not sum to 1 or a problem cannot be made
        return self

    def mixture(self) -> Mixture:
        """The mixture this names."""
        if self.preset is not None:
            return preset(self.preset)
        shares = self.shares or tuple(1 / len(self.ops) for _ in self.ops)
        cells = tuple(
            Cell(op=op, mode=self.mode, template=self.template, share=share, depth=self.depth)
            for op, share in zip(self.ops, shares, strict=True)
        )
        return Mixture(cells, self.max_facts, self.max_answer, self.max_constant)
