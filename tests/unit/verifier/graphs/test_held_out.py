"""The held-out problems of the op-graph family: what evaluations ask, and training never draws."""

from __future__ import annotations

import re

import pytest

from verifier.errors import TooFewItems
from verifier.graphs.family import GraphsConfig, problem_of
from verifier.graphs.graph import canonical_hash
from verifier.graphs.problem import Problem
from verifier.graphs.splits import split_of

TINY = GraphsConfig(ops=(2, 3, 4, 5), max_facts=8)


def held_out(config: GraphsConfig, count: int, seed: int = 0) -> list[Problem]:
    task = config.task()
    return [problem_of(item) for stratum in task.strata() for item in task.held_out(stratum, count, seed)]


def test_a_stratums_problems_are_fixed_distinct_and_of_the_test_split():
    problems = held_out(TINY, 12, seed=1)
    assert [problem.spec.op for problem in problems] == [op for op in (2, 3, 4, 5) for _ in range(12)]
    assert len({canonical_hash(problem) for problem in problems}) == 48
    assert {split_of(problem) for problem in problems} == {"test"}
    assert {problem.spec.max_facts for problem in problems} == {8}
    assert held_out(TINY, 12, seed=1) == problems
    assert not set(held_out(TINY, 12, seed=2)) & set(problems)


def test_a_stratums_problems_do_not_depend_on_the_others():
    assert held_out(GraphsConfig(ops=(4, 6)), 5)[5:] == held_out(GraphsConfig(ops=(6,)), 5)


def test_a_stratum_with_too_few_distinct_problems_says_so():
    # One fact leaves "equals N" and the total of its place: 50 counts with 4 values.
    with pytest.raises(TooFewItems, match="ask for fewer"):
        held_out(GraphsConfig(ops=(2,), template="school", max_facts=1), 20)


def test_no_test_problem_is_in_training_by_a_key_taken_from_the_words():
    parts = [{"ops": [2, 3, 4], "mode": mode, "share": 0.5} for mode in ("forward", "reverse")]
    small = GraphsConfig.model_validate({"parts": parts})
    test = {_key(problem) for problem in held_out(small, 12)}
    task, mixture = small.task(), small.mixture()
    train = {_key(problem_of(task.item(mixture.at(5, index), 5, index, "train"))) for index in range(1500)}
    assert len(test) == 72
    assert not test & train


def _key(problem: Problem) -> tuple[object, ...]:
    """Sentences as a set, the operands of each as a set too: nothing of the graph, the letters or the seed."""
    sentences = re.split(r"(?<=\.) ", problem.problem)
    facts = [tuple(sorted(re.split(r",? and the |, the |equals ", sentence.rstrip(".")))) for sentence in sentences]
    return (problem.question, *sorted(facts))
