"""Bands: named parts of a task, given by values on its axes, and the band that training should improve."""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, Field, field_validator, model_validator

from verifier.task import Stratum, Value

_RANGE = re.compile(r"(-?[0-9]+)-(-?[0-9]+)")


class Bands(BaseModel, frozen=True, extra="forbid"):
    """Axis values by band: `{op: 2-3}` is a range with both its ends, `{op: 4, mode: reverse}` asks for both."""

    ranges: dict[str, dict[str, Value]] = Field(
        default={}, description="for each band, its values by axis: {id: {op: 2-3}, edge: {op: 4-5}}"
    )
    target: str | None = Field(
        default=None, description="the band that the report leads with, and of which more problems are evaluated"
    )

    @field_validator("ranges")
    @classmethod
    def _ranges_run_upwards(cls, ranges: dict[str, dict[str, Value]]) -> dict[str, dict[str, Value]]:
        for band, axes in ranges.items():
            for axis, value in axes.items():
                found = _RANGE.fullmatch(str(value))
                if found and int(found[1]) > int(found[2]):
                    raise ValueError(f"band {band}: {axis} {value} is empty; write the smaller number first")
        return ranges

    @model_validator(mode="after")
    def _target_is_a_band(self) -> Self:
        if self.target is not None and self.target not in self.ranges:
            raise ValueError(f"target {self.target!r} is not one of the bands {sorted(self.ranges)}")
        return self

    def holds(self, band: str | None, stratum: Stratum) -> bool:
        """Whether a stratum is in a band. The band None is the whole task."""
        axes = {} if band is None else self.ranges[band]
        return all(_fits(value, dict(stratum.axes).get(axis)) for axis, value in axes.items())

    def say(self, band: str) -> str:
        """The values of a band as text: "op 2-3"."""
        return ", ".join(f"{axis} {value}" for axis, value in self.ranges[band].items())


def _fits(wanted: Value, value: Value | None) -> bool:
    found = _RANGE.fullmatch(str(wanted))
    if found and isinstance(value, int | float):
        return int(found[1]) <= value <= int(found[2])
    return str(wanted) == str(value)
