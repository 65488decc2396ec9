import threading

import pytest

from verifier.answers.checkers import CHECKERS, Checking, is_number
from verifier.final_answer import final_answer
from verifier.judgement import MAX_TEXT, checked


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" 42\n", "42"),
        ("so <answer> 4 </answer> no <answer>5</answer>.", "5"),
        (r"thus \boxed{\frac{1}{2}} holds", r"\frac{1}{2}"),
        (r"\boxed{1} and \boxed{2", "2"),
        ("6 * 7 is\n#### 42", "42"),
        ("<think>1? 2?</think> 3", "3"),
        ("<think>is it 3", None),
        ("  ", None),
        ("<answer></answer>", None),
    ],
)
def test_the_final_answer_is_found(text, answer):
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("checker", "text", "right", "is_right"),
    [
        ("exact", "  New   york ", "New York", True),
        ("exact", "York", "New York", False),
        ("choice", "The answer is (b).", "B", True),
        ("choice", "A, no: B", "A", False),
        ("choice", "none", "B", False),
        ("number", "about 1,234.50 euros", "1234.5", True),
        ("number", "-3", "3", False),
        ("number", "1e3", "1000", True),
        ("number", "12", "12.1", False),
        ("number", "no idea", "0", False),
        ("number", "1e999", "7", False),
        ("math", r"\boxed{\frac{1}{2}}", "0.5", True),
        ("math", "x^2 + 2x + 1", "(x+1)^2", True),
        ("math", "1/3", "0.5", False),
        ("math", "", "0.5", False),
    ],
)
def test_answers_are_compared(checker, text, right, is_right):
    assert CHECKERS[checker](text, Checking(right, 1e-6)).right is is_right


@pytest.mark.parametrize("checker", CHECKERS)
def test_an_answer_of_any_length_is_judged_and_cut_where_it_is_shown(checker):
    for text in ("Let me think step by step. " * 500, "9" * (MAX_TEXT + 1)):
        judged = checked(CHECKERS[checker](text, Checking("42", 1e-6)), text)
        assert not judged.right
        assert judged.answer is None or text.strip().startswith(judged.answer) or len(judged.answer) == 1
    long = "word " * MAX_TEXT
    assert CHECKERS["exact"](long, Checking(long, 0)).right


def test_a_tolerance_is_absolute_or_a_share():
    within = CHECKERS["number"]
    assert within("101", Checking("100", 0.01)).right
    assert not within("102", Checking("100", 0.01)).right


def test_math_is_judged_in_any_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(CHECKERS["math"]("1/2", Checking("0.5", 0)).right))
    thread.start()
    thread.join(60)
    assert found == [True]


def test_numbers_are_told_from_other_texts():
    assert is_number(" -1,000.5 ")
    assert not any(is_number(text) for text in ("", "three", "1 2", "1e999", "1,00"))
