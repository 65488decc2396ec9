from fractions import Fraction

import pytest

from verifier.graphs.judge import arithmetic
from verifier.graphs.judge.arithmetic import UndefinedLetter, Unreadable, evaluate, number, read_expression

FIVE = (5, 0, 1009, 11)
X = (0, 1, 2003, 13)


def value(text, **letters):
    constant, slope, _, _ = evaluate(read_expression(text), letters)
    return constant, slope


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", (12, 0)),
        ("-3", (-3, 0)),
        ("4.0", (4, 0)),
        ("6.5", (Fraction(13, 2), 0)),
        ("2 + 3 * 4", (14, 0)),
        ("(2) * (x + 3)", (6, 2)),
        ("2*x + 3 + x", (3, 3)),
        ("k - x - 1", (4, -1)),
        ("12 / 3", (4, 0)),
        ("1 / 3", (Fraction(1, 3), 0)),
        ("k * x", (0, 5)),
        ("k * k * 2", (50, 0)),
        ("-(x - 3)", (3, -1)),
        ("x - x", (0, 0)),
    ],
)
def test_expressions_are_worth_a_constant_and_a_slope(text, expected):
    assert value(text, k=FIVE, x=X) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "+",
        "3 +",
        "(3",
        "3 / 0",
        "3 / k",
        "1 / (999999999999999999 + 999999999999999999 + 305843009213693953)",  # divides by PRIME
        "1 / (1 / 7 * 999999999999999999 + 1 / 7 * 999999999999999999 + 1 / 7 * 305843009213693953)",
        "**",
        "()",
        "-" * 20 + "3",
        "(" * 20 + "3" + ")" * 20,
        "9" * 19,
        "k*k*k*k*k",
        "(k+x+1+1/2*k)*(k+x+3)*(k+x+1)*(x+1)",
        "1+" * 300 + "1",
        "999999999999999999*999999999999999999",
    ],
)
def test_what_is_no_expression_or_too_large_is_unreadable(text):
    with pytest.raises(Unreadable):
        read_expression(text)


def test_the_product_of_two_unknowns_and_unbound_letters_have_no_value():
    with pytest.raises(Unreadable, match="not linear"):
        value("x * x", x=X)
    with pytest.raises(UndefinedLetter, match="reads q"):
        value("q + 1")
    with pytest.raises(UndefinedLetter):
        value("q")


def test_a_value_that_grows_out_of_bounds_is_refused():
    with pytest.raises(Unreadable, match="bounds"):
        value("2 * k", k=(arithmetic.MAX_VALUE, 0, 1, 1))
    with pytest.raises(Unreadable, match="bounds"):
        value("1/7 * k", k=(Fraction(1, arithmetic.MAX_VALUE), 0, 1, 1))


def test_equal_prints_mean_the_same_formula_and_equal_reads_the_same_operands():
    letters = {"k": FIVE, "r": (5, 0, 31337, 17)}
    print_of = {
        text: evaluate(read_expression(text), letters)[2:] for text in ("3 + k", "k + 3", "3 + r", "8", "k + k", "2*k")
    }
    assert print_of["3 + k"] == print_of["k + 3"]
    assert print_of["3 + k"][0] != print_of["3 + r"][0]
    assert print_of["8"][1] == 0
    assert print_of["k + k"][0] == print_of["2*k"][0]
    assert print_of["k + k"][1] != print_of["2*k"][1]


def test_shapes_tell_a_stated_value_from_a_sum_still_to_do():
    shapes = {text: read_expression(text) for text in ("12", "-3", "2*x + 3", "x", "x + x", "3 + 4", "(12)")}
    assert [text for text, e in shapes.items() if e.is_number] == ["12", "-3"]
    assert [text for text, e in shapes.items() if e.is_linear] == ["2*x + 3", "x"]


def test_reading_stops_where_the_expression_ends():
    assert read_expression(" 3 which follows ").rest == "which follows"
    assert read_expression("3 4").rest == "4"
    assert read_expression("4x").rest == "x"


def test_the_memory_of_expressions_is_bounded(monkeypatch):
    monkeypatch.setattr(arithmetic, "MAX_MEMORY", len(arithmetic._memory) + 1)
    read_expression("1 + 123457")
    read_expression("1 + 123458")
    assert len(arithmetic._memory) == 1
    assert "7" * 9 + " + 1" * 30 not in arithmetic._memory
    assert value("7" * 9 + " + 1" * 30) == (777777807, 0)


def test_numbers_are_exact():
    assert number("007") == 7
    assert number("2.50") == Fraction(5, 2)
    with pytest.raises(Unreadable, match="digits"):
        number("1" * 19)
