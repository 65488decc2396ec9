from itertools import islice

import pytest

from verifier.graphs.mixture import Cell, Mixture
from verifier.graphs.problem import TEMPLATES, ProblemSpec
from verifier.graphs.splits import mean_length, problem_at, split_of, stream
from verifier.task import SPLITS

TINY = Mixture(tuple(Cell(op, "forward", "zoo", 0.25) for op in (2, 3, 4, 5)), max_facts=8)


def test_a_stream_can_be_taken_up_anywhere():
    whole = list(islice(stream(TINY, 3, "train"), 40))
    assert list(islice(stream(TINY, 3, "train", start=25), 15)) == whole[25:]
    assert problem_at(TINY, 3, "train", 31) == whole[31]


def test_streams_differ_by_seed_and_keep_to_their_split():
    for split in SPLITS:
        problems = list(islice(stream(TINY, 1, split), 20))
        assert {split_of(problem) for problem in problems} == {split}
    assert next(stream(TINY, 1, None)) != next(stream(TINY, 2, None))
    assert {split_of(problem) for problem in islice(stream(TINY, 1, None), 300)} == set(SPLITS)


def test_a_tenth_of_all_problems_is_held_out():
    splits = [split_of(problem) for problem in islice(stream(TINY, 9, None), 1500)]
    assert 0.87 < splits.count("train") / 1500 < 0.93
    assert 0.03 < splits.count("test") / 1500 < 0.07


@pytest.mark.parametrize("template", TEMPLATES)
def test_even_the_smallest_cells_have_problems_of_every_split(template):
    one_fact = Mixture((Cell(2, "forward", template, 1.0),), max_facts=1)
    one_answer = Mixture((Cell(2, "reverse", template, 1.0),), max_facts=2, max_answer=1)
    for cell in (one_fact, one_answer):
        assert {split_of(problem) for problem in islice(stream(cell, 0, None), 500)} == set(SPLITS)


def test_the_mean_length_of_a_cell_is_measured_on_a_fixed_sample():
    spec = ProblemSpec(3, max_facts=8)
    assert mean_length(spec, len) == mean_length(spec, len)
    assert mean_length(spec, lambda text: len(text.split())) < mean_length(spec, len)
