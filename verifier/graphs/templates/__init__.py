"""The three vocabularies as data: the words that turn an abstract graph into a story.

Not here: sentence forms and the trace grammar, which are the same for every template (`verifier.graphs.tell`).
A vocabulary file is JSON: `place_groups` (2 groups of 5 names), `kind_groups` (1 or 2 groups of 5 names), `total`
(the phrase for all kinds together), `average` (depth 3: per-kind average, followed by the kind) and `grand_total`
(depth 3: the sum of count times average). Source: the sentences of the reference's problems.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from verifier.graphs.problem import Template

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one template. Every problem stays within one group of places and one group of kinds."""

    place_groups: tuple[tuple[str, ...], ...]
    kind_groups: tuple[tuple[str, ...], ...]
    total: str
    average: str
    grand_total: str

    @cache  # noqa: B019 - three vocabularies of at most two by two groups live as long as the process
    def names(self, places: tuple[str, ...], kinds: tuple[str, ...]) -> list[list[str]]:
        """The names of all quantities by role: counts, averages (place by place), totals, grand totals."""
        return [
            [f"{kind} in {place}" for place in places for kind in kinds],
            [f"{self.average} {kind} in {place}" for place in places for kind in kinds],
            [f"{self.total} in {place}" for place in places],
            [f"{self.grand_total} in {place}" for place in places],
        ]


@cache
def vocabulary(template: Template) -> Vocabulary:
    """The vocabulary of a template, read once per process."""
    data = json.loads((_FOLDER / f"{template}.json").read_text(encoding="utf-8"))
    return Vocabulary(
        place_groups=tuple(tuple(group) for group in data["place_groups"]),
        kind_groups=tuple(tuple(group) for group in data["kind_groups"]),
        total=data["total"],
        average=data["average"],
        grand_total=data["grand_total"],
    )
