"""The original's behaviour, trait by trait; the whole of it is compared in tests/contracts."""

import json
from typing import Any

import pytest

from verifier.graphs.original.arithmetic import MAX_BITS, evaluate
from verifier.graphs.original.judge import extract_answer, judge
from verifier.graphs.original.reader import read_graph

GOLD = "Define a b as k; so k = 4. Define c d as t; so t = k + 2 = 4 + 2 = 6. Answer: 6."


def report(text) -> dict[str, Any]:
    return judge(text, GOLD).to_record()


def test_the_gold_trace_is_perfect_and_scores_one():
    record = report(
        " Define a b as q; so q = 4. Define c d as r; so r = q + 2 = 6. </solution> <answer> 6 </answer>[EOS]"
    )
    assert record["perfect"]
    assert record["report"] == {"missing": [], "extra": [], "value": [], "deps": [], "answer": None}
    assert record["pred"] == [["a b", "q", 4, []], ["c d", "r", 6, ["a b"]]]
    assert set(record["score"].values()) == {1.0}
    assert (record["n_steps"], record["parsed_answer"], record["extracted"], record["em"]) == (2, 6, "6", 1)


def test_a_number_beyond_all_bounds_is_a_mismatch_that_json_can_write():
    record = report(f"Define a b as q; so q = {'9' * 400}. <answer>{'9' * 400}</answer>")
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["report"]["value"] == [["a b", 4, None]]
    assert (record["report"]["answer"], record["parsed_answer"]) == ([6, None], None)


def test_one_node_with_wrong_value_and_parents_costs_twice_in_the_process_reward_only():
    record = report("Define a b as q; so q = 4. Define c d as r; so r = 7. <answer>6</answer>")
    assert (record["process_acc"], record["process_reward"]) == (0.5, 0.0)
    assert record["score"] == {"out1.0": 1.0, "a0.5": 0.5, "a0.2": 0.2, "strict": 0.0, "strict_a0.2": 0.0}


def test_extras_cost_in_the_reward_and_not_in_the_evaluation():
    record = report(
        "Define a b as q; so q = 4. Define c d as r; so r = q + 2 = 6. Define e as z; so z = 1. <answer>6</answer>"
    )
    assert record["report"]["extra"] == ["e"]
    assert (record["perfect"], record["process_reward"], record["score"]["strict"]) == (True, 0.5, 0.0)


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("define X Y a k; k = 3", [("X Y", "k", 3.0)]),
        ("Define X as the variable k; so k = 3", [("X", "k", 3.0)]),
        ("Define X as kk; so kk = 3. Define Y as z; z = 1", [("Y", "z", 1.0)]),
        ("Define X as k, so k = 3. Define Y as z; z = 1", [("Y", "z", 1.0)]),
        ("Define as as k; k = 1", [("as", "k", 1.0)]),
        ("Define  as k; k = 1", [("", "k", 1.0)]),
        ("Define as k; k = 1", []),
        ("Define X", []),
        ("Define X as k; Answer: 5", [("X", "k", None)]),
        ("Define X as k; <answer> 7", [("X", "k", 7.0)]),
        ("Define X as k; so k = 4.5. ", [("X", "k", 4.0)]),
        ("Define X as k; so k = x. Define Y as x; x = 3. ", [("X", "k", 3.0), ("Y", "x", 3.0)]),
        ("Define X as k; k = 1. Define X as k; k = 2. ", [("X", "k", 2.0)]),
        ("a < b <> <<tag>Define X as k; k = 1", [("X", "k", 1.0)]),
    ],
)
def test_steps_are_read_as_the_original_reads_them(text, nodes):
    assert [(node.name, node.variable, node.value) for node in read_graph(text).nodes.values()] == nodes


def test_letters_inside_words_become_parents_and_helpers_bring_theirs():
    nodes = read_graph("Define A as s; s = 1. Define B as t; Z = s + 1 = 2; t = Z. Define C as u; u = 3 as sum. ").nodes
    assert nodes["B"].parents == {"A"}
    assert nodes["C"].parents == {"A"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4.0),
        ("2 + 3 * 4", 14.0),
        ("-2 ** 2", -4.0),
        ("2 ** -1", 0.5),
        ("2 ** 3 ** 2", 512.0),
        ("7 // 2 - +1", 2.0),
        ("(1 +\n 2) * 2", 6.0),
        ("n * 2", -6.0),
        ("3 n", 0.0),
        ("00", 0.0),
        ("(-1) ** 99999", -1.0),
        ("k", 4.0),
    ],
)
def test_arithmetic_has_the_value_the_language_gives_it(text, value):
    assert evaluate(text, {"k": 4.0, "n": -3.0}) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "* 3",
        "3 3",
        "3 k",
        "k(3)",
        "()",
        "(3",
        "3)",
        "1\n2",
        "1 = 2",
        "007",
        "kk",
        "k_",
        "q",
        "1 / 0",
        "(-8) ** (1/3)",
        "9**9**9",
        "2**99999",
        "9" * 5000,
        "10**400",
        "10**308 * 10.0",
        "(" * 300 + "1" + ")" * 300,
        "big",
        "0 ** -1",
        "a % b",
        "B",
    ],
)
def test_what_is_an_error_or_endless_to_the_original_has_no_value(text):
    assert evaluate(text, {"k": 4.0, "B": 1e300}) is None


def test_whole_numbers_are_bounded():
    wide = "999999999999 * " * (MAX_BITS // 39) + "1"
    assert evaluate(wide, {}) is None
    assert evaluate(f"({wide} * 999999999999 * 999999999999) // 7", {}) is None
    assert evaluate("2 ** 2000 // 2 ** 1999", {}) == 2.0


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer> 4 </answer> <answer> 5 </answer>", "4"),
        ("<answer> 4 <b>", "4"),
        ("<answer> 4\n5", "4"),
        ("<answer> 4[EOS]", "4[EOS]"),
        ("<ANSWER> 4 </Answer>", "4"),
        ("Answer: 4", ""),
        ("", ""),
    ],
)
def test_the_outcome_reads_the_first_closed_tag_else_the_last_open_one(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("answer", "em", "outcome"),
    [
        ("6", 1, 1.0),
        ("6.", 1, 1.0),
        ("6.0", 1, 0.0),
        ("06", 1, 0.0),
        ("12/2", 1, 0.0),
        ("six", 0, 0.0),
        ("6/0", 0, 0.0),
        ("0,6", 1, 0.0),
        ("", 0, 0.0),
        ("9" * 5000 + "/1", 0, 0.0),
        ("9" * 400 + "/1", 0, 0.0),
    ],
)
def test_the_evaluation_compares_numbers_and_the_reward_strings(answer, em, outcome):
    record = report(f"<answer>{answer}</answer>")
    assert (record["em"], record["outcome"]) == (em, outcome)


def test_an_answer_that_is_no_number_is_compared_as_a_string():
    assert judge("<answer>six.</answer>", "Define a as k; k = 1. Answer: six").em == 1
    assert judge("<answer>six</answer>", "Define a as k; k = 1. ").outcome == 0.0
    assert judge("", "nothing at all").perfect
    assert judge("<answer>x</answer>", "Answer:").em == 0
