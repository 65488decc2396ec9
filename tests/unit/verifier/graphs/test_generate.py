import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from typing import cast

import pytest

from tests.graphs import op_count
from verifier.errors import ImpossibleSpec
from verifier.graphs.generate import MAX_OP, MAX_VALUE, MIN_OP, generate
from verifier.graphs.problem import MODES, TEMPLATES, Graph, Mode, Operation, Problem, ProblemSpec, Template

GRID = [
    ProblemSpec(op, mode, depth=depth) for depth in MIN_OP for op in range(MIN_OP[depth], MAX_OP + 1) for mode in MODES
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", MIN_OP)
def test_every_op_count_is_met_exactly(mode, depth):
    for op in range(MIN_OP[depth], MAX_OP + 1):
        for seed in range(6):
            assert op_count(generate(ProblemSpec(op, mode, depth=depth), seed).graph) == op


def test_the_same_seed_gives_the_same_graph_in_every_template():
    for spec in GRID[::9]:
        shapes = {_nameless(generate(replace(spec, template=template), 11).graph) for template in TEMPLATES}
        assert len(shapes) == 1, spec


def _nameless(graph: Graph) -> tuple[object, ...]:
    quantities = graph.needed + graph.distractors
    number = {quantity.name: place for place, quantity in enumerate(quantities)}
    return tuple(
        (quantity.operation, quantity.constant, quantity.value, tuple(number[parent] for parent in quantity.parents))
        for quantity in quantities
    )


def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed():
    code = (
        "import hashlib; from verifier.graphs.generate import generate; "
        "from verifier.graphs.problem import ProblemSpec as S;"
        "t = [generate(S(o, m, 'movie', d), 5) for o in (4, 9, 23) for m in ('forward', 'reverse') for d in (2, 3)];"
        "print(hashlib.sha256(''.join(p.problem + p.question + p.solution for p in t).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("0", "1", "77")
    }
    assert len(digests) == 1


def test_values_stay_between_1_and_the_limit():
    for spec in GRID:
        graph = generate(spec, 3).graph
        assert all(1 <= quantity.value <= MAX_VALUE for quantity in graph.needed + graph.distractors)


def test_every_parent_is_told_before_it_is_used():
    for spec in GRID:
        known: set[str] = set()
        graph = generate(spec, 4).graph
        for quantity in graph.needed + graph.distractors:
            assert known.issuperset(quantity.parents)
            assert quantity.name not in known
            known.add(quantity.name)


def test_every_needed_quantity_leads_to_the_last_one():
    for spec in GRID:
        needed = generate(spec, 5).graph.needed
        wanted = {needed[-1].name}
        for quantity in reversed(needed):
            assert quantity.name in wanted
            wanted.update(quantity.parents)


def test_a_total_counts_all_that_is_told_of_its_place():
    for spec in GRID:
        graph = generate(spec, 6).graph
        told = graph.needed + graph.distractors
        for total in told:
            if total.operation in (Operation.TOTAL, Operation.WEIGHTED_TOTAL):
                place = total.name.rpartition(" in ")[2]
                counts = {
                    quantity.name
                    for quantity in told
                    if quantity.name.endswith(f" in {place}") and not quantity.name.startswith(("total", "average"))
                }
                step = 1 if total.operation is Operation.TOTAL else 2
                assert set(total.parents[::step]) == counts


def test_the_last_value_of_a_reverse_problem_moves_with_the_unknown():
    for op in (2, 7, 15, 30):
        for seed in range(15):
            problem = generate(ProblemSpec(op, "reverse"), seed)
            base, moved = (_last_value(problem, shift) for shift in (0, 1))
            assert base == problem.graph.needed[-1].value
            assert base != moved


def _last_value(problem: Problem, shift: int) -> int:
    """The last needed value, computed anew from the operations with the unknown shifted."""
    value: dict[str, int] = {}
    for quantity in problem.graph.needed:
        parents = [value[parent] for parent in quantity.parents]
        constant = quantity.constant or 0
        match quantity.operation:
            case Operation.UNKNOWN:
                result = quantity.value + shift
            case Operation.LITERAL:
                result = constant
            case Operation.WEIGHTED_TOTAL:
                result = sum(a * b for a, b in zip(parents[::2], parents[1::2], strict=True))
            case Operation.DIFFERENCE | Operation.PLUS_DIFFERENCE | Operation.TIMES_DIFFERENCE:
                result = parents[0] - parents[1]
            case _:
                result = sum(parents)
        if quantity.operation in (Operation.PLUS, Operation.PLUS_SUM, Operation.PLUS_DIFFERENCE):
            result += constant
        if quantity.operation in (Operation.TIMES, Operation.TIMES_SUM, Operation.TIMES_DIFFERENCE):
            result *= constant
        value[quantity.name] = result
    return value[problem.graph.needed[-1].name]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("op", [2, 6, 8, 20])
def test_a_cap_on_facts_is_kept(mode, op):
    for seed in range(40):
        problem = generate(ProblemSpec(op, mode, max_facts=8), seed)
        assert problem.problem.count(". ") + 1 <= 8


def test_the_tightest_cap_that_is_allowed_can_be_kept():
    for mode in MODES:
        for op in range(2, MAX_OP + 1):
            least = -(-(op + 1) // 3) + (mode == "reverse")
            for seed in range(2):
                assert generate(ProblemSpec(op, mode, max_facts=least), seed).problem.count(". ") + 1 <= least
            with pytest.raises(ImpossibleSpec, match=f"max_facts of at least {least}"):
                generate(ProblemSpec(op, mode, max_facts=least - 1), 0)


def test_reverse_answers_fill_their_range():
    answers = {generate(ProblemSpec(8, "reverse", max_answer=6), seed).answer for seed in range(200)}
    assert answers == set(range(1, 7))
    assert {generate(ProblemSpec(5, "reverse", max_answer=1), seed).answer for seed in range(20)} == {1}


@pytest.mark.parametrize("most", [1, 2, 4, 21])
def test_constants_fill_their_number_range(most):
    problems = [generate(ProblemSpec(8, mode, max_constant=most), seed) for mode in MODES for seed in range(150)]
    told = [quantity for problem in problems for quantity in problem.graph.needed + problem.graph.distractors]
    factors = {quantity.constant for quantity in told if quantity.operation.startswith("times")}
    assert {quantity.constant for quantity in told} - {None} == set(range(1, most + 1))
    assert factors == set(range(2, most + 1))


def test_the_widest_ranges_that_are_allowed_can_be_kept():
    for op in (4, 8, 20, 40):
        for mode in MODES:
            least = -(-(op + 1) // 3) + (mode == "reverse")
            generate(ProblemSpec(op, mode, "zoo", 3, least, 100, 500 // op), 1)


def test_letters_of_a_trace_are_drawn_once_and_cannot_leak_in_reverse():
    for seed in range(20):
        text = generate(ProblemSpec(15, "reverse"), seed).solution
        letters = [part.split(" as ")[1][0] for part in text.split("Define ")[1:]]
        assert len(set(letters)) == len(letters)
        assert letters.count("x") == 1
        assert not set(letters) & set("XSadefghilmnopqrstuvwy")


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        (ProblemSpec(1), "op is 2 to 40 at depth 2, not 1"),
        (ProblemSpec(41), "op is 2 to 40"),
        (ProblemSpec(2, depth=3), "op is 4 to 40 at depth 3, not 2"),
        (ProblemSpec(5, depth=4), "depth is 2 or 3, not 4"),
        (ProblemSpec(5, cast(Mode, "sideways")), "unknown mode 'sideways': use one of forward, reverse"),
        (ProblemSpec(5, template=cast(Template, "farm")), "unknown template 'farm': use one of zoo, school, movie"),
        (ProblemSpec(5, max_facts=26), "more than a template has names for: 25 at most"),
        (ProblemSpec(5, "reverse", depth=3, max_facts=52), "51 at most"),
        (ProblemSpec(5, max_facts=0), "max_facts of at least 2"),
        (ProblemSpec(5, "reverse", max_answer=0), "max_answer is 1 to 100, not 0"),
        (ProblemSpec(5, "reverse", max_answer=101), "max_answer is 1 to 100, not 101"),
        (ProblemSpec(5, max_constant=0), "max_constant is 1 to 100 at op 5, not 0"),
        (ProblemSpec(40, max_constant=13), "max_constant is 1 to 12 at op 40, not 13"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_remedy(spec, hint):
    with pytest.raises(ImpossibleSpec, match=hint):
        generate(spec, 0)


def test_the_texts_carry_no_blanks_around_them():
    for spec in GRID[::5]:
        problem = generate(spec, 8)
        for text in (problem.problem, problem.question, problem.solution):
            assert text == text.strip()
            assert "  " not in text
        assert problem.solution.endswith(f" Answer: {problem.answer}.")


def test_seeds_do_not_repeat_problems():
    texts = {sha256(generate(ProblemSpec(8), seed).problem.encode()).digest() for seed in range(200)}
    assert len(texts) == 200
