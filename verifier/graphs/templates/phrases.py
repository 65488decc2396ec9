"""The phrases that a tokenizer of the op-graph language may take whole."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.graphs.problem import Template
from verifier.graphs.templates import Vocabulary, vocabulary
from verifier.graphs.templates.connectives import connectives


def phrases(templates: Sequence[Template], whole_names: bool) -> tuple[str, ...]:
    """The connectives, then each template's words, or the whole names of its quantities: each with its leading blank.

    The order is that of a tokenizer's ids. Checkpoints depend on it.
    """
    names = _quantity_phrases if whole_names else _name_phrases
    return (*connectives(), *(phrase for template in templates for phrase in names(vocabulary(template))))


def _name_phrases(template: Vocabulary) -> tuple[str, ...]:
    """The phrases of one template: its kinds, its places (bare and after "in"), what its totals and averages count."""
    kinds = [f" {kind}" for group in template.kind_groups for kind in group]
    places = [f"{link} {place}" for group in template.place_groups for place in group for link in (" in", "")]
    counted = [template.total, template.average.removesuffix(" per"), template.grand_total]
    things = [phrase.removeprefix("total number of").removeprefix("average number of") for phrase in counted]
    return tuple(dict.fromkeys([*kinds, *places, *things]))


def _quantity_phrases(template: Vocabulary) -> tuple[str, ...]:
    """The whole names of one template's quantities, each with its leading blank, and the words they are made of."""
    words = _name_phrases(template)
    kinds = [kind for group in template.kind_groups for kind in group]
    counted = [template.total, template.grand_total]
    things = [phrase.removeprefix("total number of ") for phrase in counted]
    places = [place for group in template.place_groups for place in group]
    return tuple(dict.fromkeys([*words, *(f" {thing} in {place}" for thing in (*kinds, *things) for place in places)]))
