import pytest

from tests.unit.verifier.graphs.spoiled import gold_of, made
from verifier.errors import MalformedProblem
from verifier.graphs.judge.gold import prepare

PROBLEM = (
    "The number of adult fox in Farm equals 4. "
    "The number of adult owl in Farm equals 2 times the number of adult fox in Farm. "
)
QUESTION = "How many adult owl does Farm have?"
SOLUTION = (
    "Define adult fox in Farm as R; so R = 4. Define adult owl in Farm as K; so K = 2 * R = 2 * 4 = 8. Answer: 8."
)


def test_gold_holds_steps_facts_and_answer():
    gold = prepare(PROBLEM, QUESTION, SOLUTION)
    assert list(gold.steps) == ["adult fox in Farm", "adult owl in Farm"]
    assert gold.steps["adult owl in Farm"].parents == ("adult fox in Farm",)
    assert gold.steps["adult owl in Farm"].value[:2] == (8, 0)
    assert gold.facts == {"adult fox in Farm": 4}
    assert (gold.answer, gold.unknown, gold.given) == (8, None, None)


def test_reverse_gold_knows_the_unknown_and_what_the_problem_gives_away():
    problem = made(8, "reverse")
    gold = gold_of(problem)
    assert gold.unknown == problem.graph.query
    assert gold.given == problem.graph.given
    assert gold.given is not None
    assert gold.facts[gold.given] == gold.given_value


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Answer: 8.", ""),
        ("Answer: 8.", "Answer: eight."),
        ("Answer: 8.", "Answer: 8.5"),
        ("2 * 4 = 8.", "2 * 4 = 9."),
        ("so K = 2 * R = 2 * 4 = 8.", ""),
        ("so R = 4.", "so R = Q."),
        ("as R; so", "as RR; so"),
        (SOLUTION, "Nothing. Answer: 8."),
        (SOLUTION, "Define a as x; we don't know. Answer: 8."),
        (SOLUTION, "Define a as x; we don't know. We know k = 3, so we have x = 3 and we solve it. Answer: 8."),
    ],
)
def test_a_gold_trace_that_does_not_hold_is_refused(old, new):
    with pytest.raises(MalformedProblem):
        prepare(PROBLEM, QUESTION, SOLUTION.replace(old, new))
