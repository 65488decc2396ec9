"""Text made to hurt: both judges stay linear, bounded and silent, whatever a model writes."""

import sys
import time

import pytest

from tests.unit.verifier.graphs.spoiled import gold_of, made
from verifier.graphs.judge.judge import verify
from verifier.graphs.original.judge import judge
from verifier.judgement import MAX_TEXT, AnswerStatus, checked

PROBLEM = made(12, "reverse", "zoo", 1)
GOLD = gold_of(PROBLEM)
NAME = next(name for name in GOLD.steps if name != GOLD.unknown)
STEP = f"Define {NAME} as k; "

PATTERNS = {
    "invented steps": ("", "Define a as k; so k = 1. ", ""),
    "one step again and again": ("", f"{STEP}so k = 1. ", ""),
    "a step that reads itself": ("", f"{STEP}so k = k + k = 2. ", ""),
    "digits": (f"{STEP}so k = ", "9", "."),
    "digits in the answer": ("<answer> ", "9", ""),
    "digits, then a letter": ("<answer> ", "9", "x"),
    "a sum without end": (f"{STEP}so k = ", "9+", "9."),
    "a product without end": (f"{STEP}so k = ", "777777777777*", "7."),
    "powers": (f"{STEP}so k = ", "9**", "9."),
    "brackets": (f"{STEP}so k = ", "(", "."),
    "signs": (f"{STEP}so k = ", "-", "1."),
    "helpers": (STEP, "a=1;", ""),
    "helpers that grow": (STEP, "a=2;b=a+a;a=b*b;", ""),
    "fractions": (STEP, "a=1/3;b=a/7+a;", ""),
    "polynomials": (STEP, "a=(a+b+c+d)*(e+f+g+h)*2;", ""),
    "links": (f"{STEP}so k ", "=1", ""),
    "headers without end": ("", "Define x as ", ""),
    "a name without end": ("Define ", "adult ", "as k; so k = 1."),
    "broken headers": ("", "Define q as a ", ""),
    "ends without headers": ("", " as x;", ""),
    "blanks": ("Define ", " ", ""),
    "prose": (f"{STEP}so k = 3 ", "which follows ", "."),
    "letters": ("", "a =  ", ""),
    "open tags": ("", "<", ""),
    "answer tags": ("", "<answer>", ""),
    "points": ("", ".", ""),
    "semicolons": ("", ";", ""),
    "closing lines": ("", "Solution: x = 1. ", ""),
    "closings": ("", "We know a = 3, so we have x = 3 and we solve it through the following steps: ", ""),
    "NUL": ("", "\0", ""),
    "lone surrogates": ("", "Define \ud800 as k; so k = 1. ", "<answer>\udfff"),
}


def hostile(name: str, size: int) -> str:
    head, unit, tail = PATTERNS[name]
    return head + unit * (size // len(unit)) + tail


@pytest.mark.parametrize("name", PATTERNS)
def test_hostile_text_has_a_judgement_that_can_be_counted(name):
    text = hostile(name, 2 * MAX_TEXT)
    assert checked(verify(text, GOLD), text).answer_status is not AnswerStatus.RIGHT


def calls(judgement) -> int:
    """Function calls made from here down: work done, counted, not timed."""
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        judgement()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", PATTERNS)
def test_hostile_text_is_rejected_by_both_judges_in_linear_work(name):
    small, large = hostile(name, 4_000), hostile(name, 8_000)
    assert not verify(large, GOLD).verified
    assert judge(large, PROBLEM.solution).perfect is False
    assert calls(lambda: verify(large, GOLD)) <= 2.2 * calls(lambda: verify(small, GOLD)) + 1000
    solution = PROBLEM.solution
    assert calls(lambda: judge(large, solution)) <= 2.2 * calls(lambda: judge(small, solution)) + 1000


@pytest.mark.parametrize("name", PATTERNS)
def test_a_hundred_kilobytes_are_judged_in_bounded_work(name):
    """The bar of 100 ms is a benchmark's matter; a pattern that backtracks needs a minute of this."""
    text = hostile(name, 100_000)
    for judgement in (lambda: verify(text, GOLD), lambda: judge(text, PROBLEM.solution)):
        start = time.process_time()
        judgement()
        assert time.process_time() - start < 5.0


@pytest.mark.parametrize("size", [10**6])
def test_a_million_digits_are_not_converted(size):
    judgement = verify(f"{STEP}so k = {'9' * size}. <answer> {'9' * size}", GOLD)
    assert not judgement.verified
    assert all(len(step.reason) < 200 for step in judgement.steps)
