import re
from itertools import islice

import pytest

from verifier.errors import BadMixture
from verifier.graphs.graph import canonical_hash
from verifier.graphs.problem import TEMPLATES, ProblemSpec
from verifier.graphs.splits import (
    PRESETS,
    Cell,
    Mixture,
    mean_length,
    problem_at,
    problems_for_eval,
    split_of,
    stream,
)
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


def test_evaluation_sets_are_fixed_distinct_and_of_their_split():
    sets = problems_for_eval(TINY, 12, seed=1)
    assert list(sets) == [2, 3, 4, 5]
    for op, problems in sets.items():
        assert len({canonical_hash(problem) for problem in problems}) == 12
        assert {problem.spec.op for problem in problems} == {op}
        assert {split_of(problem) for problem in problems} == {"test"}
        assert all(problem.spec.max_facts == 8 for problem in problems)
    assert problems_for_eval(TINY, 12, seed=1) == sets
    assert problems_for_eval(TINY, 12, seed=2) != sets


def test_an_ops_evaluation_set_does_not_depend_on_other_ops():
    cells = (Cell(4, "forward", "zoo", 0.5), Cell(6, "reverse", "movie", 0.5))
    assert problems_for_eval(cells, 5, 0)[6] == problems_for_eval(cells[1:], 5, 0)[6]


def test_an_ops_problems_are_shared_out_over_its_cells():
    cells = (Cell(4, "forward", "zoo", 0.2), Cell(4, "reverse", "zoo", 0.1), Cell(5, "forward", "zoo", 0.0))
    sets = problems_for_eval(cells, 9, 0, "validation")
    assert [problem.spec.mode for problem in sets[4]] == ["forward"] * 6 + ["reverse"] * 3
    assert len(sets[5]) == 9


def test_a_cell_with_too_few_distinct_problems_says_so():
    # One fact leaves "equals N" and the total of its place: 50 counts with 4 values.
    tiny = Mixture((Cell(2, "forward", "school", 1.0),), max_facts=1)
    with pytest.raises(BadMixture, match="ask for fewer"):
        problems_for_eval(tiny, 20, 0)


@pytest.mark.parametrize("template", TEMPLATES)
def test_even_the_smallest_cells_have_problems_of_every_split(template):
    one_fact = Mixture((Cell(2, "forward", template, 1.0),), max_facts=1)
    one_answer = Mixture((Cell(2, "reverse", template, 1.0),), max_facts=2, max_answer=1)
    for cell in (one_fact, one_answer):
        assert {split_of(problem) for problem in islice(stream(cell, 0, None), 500)} == set(SPLITS)


def test_no_test_problem_is_in_training_by_a_key_taken_from_the_words():
    mixture = PRESETS["id2-10_uniform"]
    small = Mixture(tuple(Cell(c.op, c.mode, c.template, 1 / 6) for c in mixture.cells if c.op in (2, 3, 4)))
    test = {_key(problem) for problems in problems_for_eval(small, 24, 0).values() for problem in problems}
    train = {_key(problem) for problem in islice(stream(small, 5, "train"), 1500)}
    assert len(test) == 72
    assert not test & train


def _key(problem) -> tuple[object, ...]:
    """Sentences as a set, the operands of each as a set too: nothing of the graph, the letters or the seed."""
    sentences = re.split(r"(?<=\.) ", problem.problem)
    facts = [tuple(sorted(re.split(r",? and the |, the |equals ", sentence.rstrip(".")))) for sentence in sentences]
    return (problem.question, *sorted(facts))


def test_the_mean_length_of_a_cell_is_measured_on_a_fixed_sample():
    spec = ProblemSpec(3, max_facts=8)
    assert mean_length(spec, len) == mean_length(spec, len)
    assert mean_length(spec, lambda text: len(text.split())) < mean_length(spec, len)
