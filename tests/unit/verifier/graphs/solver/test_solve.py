import time

import pytest

from verifier.graphs.problem import Operation
from verifier.graphs.solver.reading import Defect, split_text
from verifier.graphs.solver.solve import Linear, solve

FOX_Q = "How many adult fox does South Zoo have?"
TOTAL_Q = "What is the total number of adult animals in South Zoo?"


def test_a_forward_problem_is_derived_step_by_step():
    found = solve(
        "The number of adult fox in South Zoo equals 3 times the sum of the number of adult bear in South Zoo and the "
        "number of adult deer in Maple Creek. The number of adult deer in Maple Creek equals 4. "
        "The number of adult bear in South Zoo equals 2 plus the number of adult deer in Maple Creek.",
        TOTAL_Q,
    )
    assert found.fault is None
    assert found.answer == 36
    assert [(step.name, step.operation, step.formula, step.value) for step in found.steps] == [
        ("adult deer in Maple Creek", Operation.LITERAL, "4", 4),
        ("adult bear in South Zoo", Operation.PLUS, "2 + 4", 6),
        ("adult fox in South Zoo", Operation.TIMES_SUM, "3 * (6 + 4)", 30),
        ("total number of adult animals in South Zoo", Operation.TOTAL, "30 + 6", 36),
    ]
    assert found.steps[3].sentence is None
    assert found.steps[2].parents == ("adult bear in South Zoo", "adult deer in Maple Creek")


def test_a_reverse_problem_is_solved_for_its_unknown():
    found = solve(
        "The number of calm road movie in Festival Lumière de Valmont equals 4. The number of futuristic sci-fi movie "
        "in Rêves de Belleville exists, and its number is greater than 0. The number of calm road movie in Festival "
        "Lumière de Valmont equals the total number of movies in Rêves de Belleville.",
        "How many futuristic sci-fi movie does Rêves de Belleville have?",
    )
    assert found.answer == 4
    assert found.equation is not None
    assert (found.equation.left, found.equation.right) == (Linear(0, 1), Linear(4))
    assert [str(step.symbolic) for step in found.steps] == ["x", "x", "x"]


def test_a_total_of_averages_weighs_each_kind_by_its_count():
    found = solve(
        "The number of culinarian school in Ruby Bay equals 2. The number of elementary school in Ruby Bay equals 3. "
        "The average number of teachers per culinarian school in Ruby Bay equals 4. "
        "The average number of teachers per elementary school in Ruby Bay is greater than 0. "
        "The total number of teachers from all schools in Ruby Bay equals 11.",
        "What is the average number of teachers per elementary school in Ruby Bay?",
    )
    assert found.answer == 1
    assert found.steps[-1].formula == "2 * 4 + 3 * x"
    assert found.steps[-1].operation is Operation.WEIGHTED_TOTAL


def test_mixed_forms_nest_to_any_depth():
    found = solve(
        "The number of adult bear in South Zoo equals 5. The number of adult deer in South Zoo equals 2. "
        "The number of adult fox in South Zoo equals 2 times 3 plus the difference between the number of adult bear in "
        "South Zoo and the number of adult deer in South Zoo.",
        FOX_Q,
    )
    assert found.answer == 12
    assert found.steps[-1].formula == "2 * (3 + (5 - 2))"


def test_only_what_the_answer_needs_is_derived():
    found = solve(
        "The number of adult fox in South Zoo equals 1. The number of adult bear in Maple Creek equals the number of "
        "adult owl in Maple Creek.",
        FOX_Q,
    )
    assert found.values() == {"adult fox in South Zoo": 1}


FOX = "The number of adult fox in South Zoo"
BEAR = "the number of adult bear in South Zoo"
UNKNOWN_FOX = f"{FOX} exists, and its number is greater than 0."


@pytest.mark.parametrize(
    ("problem", "question", "defect", "blamed"),
    [
        (f"{FOX} is lovely.", FOX_Q, Defect.UNREADABLE, "is lovely"),
        (f"{FOX} equals 3", FOX_Q, Defect.UNREADABLE, "equals 3"),
        (f"{FOX} equals.", FOX_Q, Defect.UNREADABLE, "equals"),
        (f"{FOX} equals 3 times.", FOX_Q, Defect.UNREADABLE, "3 times"),
        (f"{FOX} equals 3 plus 4.", FOX_Q, Defect.UNREADABLE, "3 plus 4"),
        (f"{FOX} equals the sum of {BEAR}.", FOX_Q, Defect.UNREADABLE, "the sum"),
        (f"{FOX} equals the difference between {BEAR}, {BEAR}, and {BEAR}.", FOX_Q, Defect.UNREADABLE, "difference"),
        ("The number of adult fox equals 3.", FOX_Q, Defect.UNREADABLE, "adult fox equals"),
        ("The total number of socks in South Zoo equals 3.", FOX_Q, Defect.UNREADABLE, "socks"),
        ("The average number of teachers in Ruby Bay equals 3.", FOX_Q, Defect.UNREADABLE, "teachers"),
        ("", "", Defect.UNREADABLE, None),
        (f"{FOX} equals 1.", "Why?", Defect.UNREADABLE, "Why?"),
        (f"{FOX} equals 1.", "How many adult fox does have?", Defect.UNREADABLE, "How many"),
        (f"{FOX} equals {'9' * 19}.", FOX_Q, Defect.TOO_LARGE, "999"),
        (f"{FOX} equals {'9' * 19} plus {BEAR}.", FOX_Q, Defect.TOO_LARGE, "999"),
        (f"{FOX} equals 4.", TOTAL_Q.replace("South", "North"), Defect.UNDEFINED, None),
        (f"{FOX} equals {BEAR}.", FOX_Q, Defect.UNDEFINED, None),
        (
            f"{FOX} equals {BEAR}. T{BEAR[1:]} equals 2 times {FOX.lower()[:1] + FOX[1:]}.",
            FOX_Q,
            Defect.CIRCULAR,
            "2 times",
        ),
        (UNKNOWN_FOX, FOX_Q, Defect.UNDETERMINED, "exists"),
        (UNKNOWN_FOX + f" T{BEAR[1:]} is greater than 0.", TOTAL_Q, Defect.UNDETERMINED, "exists"),
        (UNKNOWN_FOX + f" T{BEAR[1:]} equals 3. T{TOTAL_Q[9:-1]} equals 2.", FOX_Q, Defect.CONTRADICTORY, "equals 2."),
        (
            UNKNOWN_FOX + f" T{BEAR[1:]} equals 2 times t{FOX[1:]}. T{BEAR[1:]} equals 3.",
            FOX_Q,
            Defect.CONTRADICTORY,
            "3.",
        ),
        (f"{FOX} equals 3. {FOX} equals 4.", FOX_Q, Defect.CONTRADICTORY, "equals 4."),
        (UNKNOWN_FOX + f" T{BEAR[1:]} equals {BEAR}. T{BEAR[1:]} equals 3.", FOX_Q, Defect.CIRCULAR, "bear"),
        (
            "The number of elementary school in Ruby Bay exists, and its number is greater than 0. The average number "
            "of teachers per elementary school in Ruby Bay equals the number of elementary school in Ruby Bay. "
            "The total number of teachers from all schools in Ruby Bay equals 9.",
            "How many elementary school does Ruby Bay have?",
            Defect.NONLINEAR,
            None,
        ),
    ],
)
def test_a_text_without_one_answer_is_refused_with_the_sentence_at_fault(problem, question, defect, blamed):
    found = solve(problem, question)
    assert not found.well_posed
    assert found.fault is not None
    assert (found.answer, found.steps) == (None, ())
    assert found.fault.defect is defect
    assert blamed is None or (found.fault.sentence and blamed in found.fault.sentence)


def test_an_unknown_that_cancels_out_still_needs_an_equation():
    found = solve(
        UNKNOWN_FOX + f" T{BEAR[1:]} equals the difference between t{FOX[1:]} and t{FOX[1:]}.",
        "How many adult bear does South Zoo have?",
    )
    assert found.fault is not None
    assert found.fault.defect is Defect.UNDETERMINED


def test_a_declaration_that_stands_twice_raises_a_doubt():
    found = solve(f"{UNKNOWN_FOX} {UNKNOWN_FOX} T{TOTAL_Q[9:-1]} equals 2.", FOX_Q)
    assert found.answer == 2
    assert found.doubt is not None


def test_a_running_text_is_split_before_its_last_question():
    problem, question = split_text(f"<question> {FOX} equals 3. {FOX_Q} </question> <solution>")
    assert (problem, question) == (f"{FOX} equals 3.", FOX_Q)
    assert split_text("no question here") == ("no question here", "")


def _chain(length: int, form: str) -> str:
    def name(index: int) -> str:
        return f"number of k{index} in P"

    links = (f"The {name(i)} equals {form.format(f'the {name(i - 1)}')}." for i in range(length, 0, -1))
    return " ".join(links) + f" The {name(0)} equals 1."


HOSTILE = {
    "long chain": (_chain(2_000, "{0}"), "How many k2000 does P have?"),
    "powers": (_chain(2_000, "4 times {0}"), "How many k2000 does P have?"),
    "doubling": (_chain(1_200, "the sum of {0} and {0}"), "How many k1200 does P have?"),
    "factors": (f"{FOX} equals {'2 plus ' * 14_000}{BEAR}. T{BEAR[1:]} equals 1.", FOX_Q),
    "multipliers": (f"{FOX} equals {'9 times ' * 12_000}{BEAR}. T{BEAR[1:]} equals 1.", FOX_Q),
    "digits": (f"{FOX} equals {'7' * 100_000}.", FOX_Q),
    "one endless sum": (f"{FOX} equals the sum of {', '.join([BEAR] * 2_500)}. T{BEAR[1:]} equals 1.", FOX_Q),
    "ring": (
        _chain(2_000, "{0}").replace("P equals 1.", "P equals the number of k2000 in P."),
        "How many k9 does P have?",
    ),
    "does": ("", "How many " + " does " * 16_000 + "?"),
    "in": (f"{FOX} equals the number of{' in' * 33_000}.", FOX_Q),
    "surrogates and NUL": ("\ud800\x00. " * 25_000, "\x00"),
    "full stops": (". " * 50_000, FOX_Q),
    "questions": ("", "What is the " * 8_000),
    "kinds": (
        " ".join(f"The number of k{i} in P equals 1." for i in range(2_700)),
        "What is the total number of schools in P?",
    ),
    "unknowns": (
        " ".join(f"The number of k{i} in P is greater than 0." for i in range(2_200)),
        "How many k1 does P have?",
    ),
    "equations": (" ".join([UNKNOWN_FOX, *[f"T{TOTAL_Q[9:-1]} equals 3."] * 1_700]), FOX_Q),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_solved_or_refused_in_bounded_work(text):
    """The bar of 100 ms per 100 kB is a benchmark's matter; a pattern that backtracks needs a minute of this."""
    problem, question = text
    start = time.process_time()
    solve(problem, question)
    split_text(problem + question)
    assert time.process_time() - start < 5.0
