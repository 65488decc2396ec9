from dataclasses import replace

import pytest

from verifier.graphs.generate import generate
from verifier.graphs.problem import Problem, ProblemSpec
from verifier.graphs.solver.proof import disagreement

FORWARD = generate(ProblemSpec(op=6), 3)
REVERSE = generate(ProblemSpec(op=6, mode="reverse"), 3)


def _with_last(problem: Problem, **changes) -> Problem:
    needed = problem.graph.needed
    return replace(problem, graph=replace(problem.graph, needed=(*needed[:-1], replace(needed[-1], **changes))))


@pytest.mark.parametrize("problem", [FORWARD, REVERSE])
def test_a_sound_problem_has_no_disagreement(problem):
    assert disagreement(problem) is None


@pytest.mark.parametrize("problem", [FORWARD, REVERSE])
def test_each_point_of_the_gold_side_is_compared(problem):
    last = problem.graph.needed[-1]
    assert "the answer is" in (disagreement(replace(problem, answer=problem.answer + 1)) or "")
    assert last.name in (disagreement(_with_last(problem, value=last.value + 1)) or "")
    assert last.name in (disagreement(_with_last(problem, parents=last.parents[1:])) or "")
    assert last.name in (disagreement(_with_last(problem, operation=problem.graph.needed[0].operation)) or "")
    assert "one side only" in (disagreement(_with_last(problem, name="adult moose in South Zoo")) or "")


def test_a_text_that_has_no_answer_or_a_doubtful_one_is_reported():
    assert "unreadable" in (disagreement(replace(FORWARD, question="?")) or "")
    unknown = f"The number of {REVERSE.graph.query} exists, and its number is greater than 0."
    assert unknown in REVERSE.problem
    assert "twice" in (disagreement(replace(REVERSE, problem=f"{REVERSE.problem} {unknown}")) or "")
