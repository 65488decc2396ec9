from collections import Counter

import pytest

from verifier.errors import BadMixture, ImpossibleSpec
from verifier.graphs.mixture import Cell, Mixture, by_tokens

HALVES = (Cell(2, "forward", "zoo", 0.5), Cell(4, "reverse", "school", 0.5))


@pytest.mark.parametrize(
    ("shares", "hint"),
    [
        ((0.5, 0.4), "sum to 0.9, not to 1"),
        ((1.5, -0.5), "share 1.5 of cell 0 is not in 0..1"),
        ((float("nan"), 1.0), "share nan of cell 0"),
        ((0.0, 0.0), "sum to 0, not to 1"),
        ((), "at least one cell"),
    ],
)
def test_shares_that_make_no_sense_are_refused(shares, hint):
    with pytest.raises(BadMixture, match=hint):
        Mixture(tuple(Cell(2, "forward", "zoo", share) for share in shares))


def test_a_cell_that_cannot_be_made_is_refused_at_once():
    with pytest.raises(ImpossibleSpec):
        Mixture((Cell(2, "forward", "zoo", 1.0, depth=3),))
    with pytest.raises(ImpossibleSpec):
        Mixture((Cell(20, "forward", "zoo", 1.0),), max_facts=3)


def test_specs_carry_what_the_mixture_says_and_follow_the_shares():
    cells = (Cell(2, "forward", "zoo", 0.25), Cell(5, "reverse", "movie", 0.75))
    mixture = Mixture(cells, max_facts=6, max_answer=9, max_constant=7)
    specs = Counter(mixture.spec_at(1, index) for index in range(4000))
    assert {(spec.op, spec.mode, spec.template) for spec in specs} == {(2, "forward", "zoo"), (5, "reverse", "movie")}
    assert all((spec.max_facts, spec.max_answer, spec.max_constant) == (6, 9, 7) for spec in specs)
    assert 900 < next(number for spec, number in specs.items() if spec.op == 2) < 1100


def test_a_cell_without_a_share_is_never_drawn():
    mixture = Mixture((Cell(2, "forward", "zoo", 1.0), Cell(3, "forward", "zoo", 0.0)))
    assert {mixture.spec_at(0, index).op for index in range(500)} == {2}


def test_a_part_of_a_mixture_sums_to_1_again():
    part = Mixture(HALVES).only(mode="reverse")
    assert part.cells == (Cell(4, "reverse", "school", 1.0),)
    with pytest.raises(BadMixture, match=r"^the preset has no problems of this mode or template$"):
        part.only(template="zoo")


def test_token_shares_become_problem_shares():
    cells = by_tokens(Mixture(HALVES), lambda spec: 50.0 if spec.op == 2 else 200.0).cells
    assert [cell.share for cell in cells] == pytest.approx([0.8, 0.2])
