import threading

import pytest

from verifier.answers.checkers import CHECKERS, RightAnswer, is_number
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
        ("I put it in <answer> tags: <answer>5</answer>", "5"),
        ("<answer>5</answer> closes with </answer>", "5"),
        ("<answer>5</answer> or <answer>6", "5"),
        ("</answer> 5", "</answer> 5"),
        ("<answer>" * 100_000 + "5", "<answer>" * 100_000 + "5"),
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
        ("exact", "cafe\u0301", "CAF\u00c9", True),
        ("choice", "A, no: B", "A", False),
        ("choice", "B f\u00fcr alle", "B", True),
        ("choice", "B fu\u0308r alle", "R", False),
        ("choice", "B, en \u00e9t\u00e9", "T", False),
        ("choice", "\u7b54\u6848\u662fB\u3002", "B", True),
        ("choice", "none", "B", False),
        ("choice", "B, because it's bigger", "B", True),
        ("choice", "A. They don\u2019t know", "T", False),
        ("choice", "The answer is 'B'.", "B", True),
        ("number", "about 1,234.50 euros", "1234.5", True),
        ("number", "-3", "3", False),
        ("number", "1e3", "1000", True),
        ("number", "12", "12.1", False),
        ("number", "\N{MINUS SIGN}5", "-5", True),
        ("number", "\N{MINUS SIGN}5", "5", False),
        ("number", "\N{EN DASH}5", "5", False),
        ("number", "3/4", "4", False),
        ("number", "3 / 4 of it", "0.75", True),
        ("number", "3/0", "0", False),
        ("number", r"-\frac{1}{2}", "-0.5", True),
        ("number", r"\frac{1}{2}", "2", False),
        ("number", r"\dfrac12", "1/2", True),
        ("number", r"2\frac{3}{4}", "2.75", True),
        ("number", r"2\frac{3}{4}", "5.75", False),
        ("number", "-2 3/4 cups", "-2.75", True),
        ("number", "2 3/4", "0.75", False),
        ("number", "1.5 3/4", "0.75", True),
        ("number", "2 3/0", "2", False),
        ("number", "step 2\n3/4", "0.75", True),
        ("number", r"\boxed{1{,}000}", "1000", True),
        ("number", "1{,}000", "0", False),
        ("number", r"1,\!234\,567.5", "1234567.5", True),
        ("number", "12\N{NARROW NO-BREAK SPACE}000", "12,000", True),
        ("number", "10-3", "-3", False),
        ("number", "5 to 10\N{EN DASH}15", "15", True),
        ("number", "n=-3", "-3", True),
        ("number", "1e" + "9" * 50, "7", False),
        ("number", "1e-" + "9" * 50, "0", False),
        ("number", "no idea", "0", False),
        ("number", "1e999", "7", False),
        ("math", r"\boxed{\frac{1}{2}}", "0.5", True),
        ("math", "x^2 + 2x + 1", "(x+1)^2", True),
        ("math", "1/3", "0.5", False),
        ("math", r"\boxed{\$18}", "18", True),
        ("math", r"\boxed{\$18}", r"\$18", True),
        ("math", r"\boxed{\$18}", "17", False),
        ("math", "", "0.5", False),
    ],
)
def test_answers_are_compared(checker, text, right, is_right):
    assert CHECKERS[checker](text, RightAnswer(right)).right is is_right


@pytest.mark.parametrize("checker", CHECKERS)
def test_an_answer_of_any_length_is_judged_and_cut_where_it_is_shown(checker):
    for text in ("Let me think step by step. " * 500, "9" * (MAX_TEXT + 1)):
        judged = checked(CHECKERS[checker](text, RightAnswer("42", 1e-6)), text)
        assert not judged.right
        assert judged.answer is None or text.strip().startswith(judged.answer) or len(judged.answer) == 1
    long = "word " * MAX_TEXT
    assert CHECKERS["exact"](long, RightAnswer(long, 0)).right


@pytest.mark.parametrize(
    ("text", "right", "tolerance", "is_right"),
    [
        ("101", "100", 0.01, True),
        ("102", "100", 0.01, False),
        ("0.05", "0", 0.05, True),
        ("0.06", "0", 0.05, False),
        ("1.3", "1", 0.3, True),
        ("2", "1", 0.5, False),  # a share of the right answer, not of the larger number
        ("12345679", "12345678", 1e-6, True),
        ("12345679", "12345678", None, False),
        ("9007199254740993", "9007199254740992", 0, False),
        ("9007199254740993", "9007199254740993", 0, True),
        ("4.0", "4", None, True),
        ("3.9999999", "4", None, False),
        ("0.3333333", "0.33333333", None, True),
        ("0.3333333", "1/3", None, True),
        ("0.333", "1/3", None, False),
        ("0.1", "0.1", 0, True),
    ],
)
def test_a_tolerance_is_absolute_or_a_share_of_the_right_answer(text, right, tolerance, is_right):
    assert CHECKERS["number"](text, RightAnswer(right, tolerance)).right is is_right


def test_math_is_judged_in_any_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(CHECKERS["math"]("1/2", RightAnswer("0.5", 0)).right))
    thread.start()
    thread.join(60)
    assert found == [True]


def test_numbers_are_told_from_other_texts():
    assert all(is_number(text) for text in (" -1,000.5 ", "1/3", "2 1/3", r"\frac{1}{3}", "\N{MINUS SIGN}2", "1e308"))
    assert not any(is_number(text) for text in ("", "three", "1 2", "1e999", "1,00", "1/0", "1" * 309))


@pytest.mark.parametrize("part", ["1", "1,", "1,111", "1/", "1e", "-", r"\frac", r"\frac{1}{", "1 ", "a'"])
def test_a_long_text_is_read_in_one_pass(part):
    text = part * (50_000 // len(part))
    assert not any(CHECKERS[checker](text, RightAnswer("42", 0)).right for checker in ("exact", "choice", "number"))
