"""Both judges against the conformance set: `expected` in strict mode, every field of the original in reference mode."""

import gzip
import json
from collections import Counter

import pytest

from verifier.graphs.judge.judge import prepare, verify
from verifier.graphs.original.judge import judge
from verifier.graphs.original.reader import read_graph

# What strict mode says where the conformance set leaves it open (docs/decisions: conventions of the strict judge).
ACCEPTED = {
    "answer_decimal_zero",
    "answer_leading_zero_plus",
    "answer_tag_unclosed_rl",
    "missing_solution_close",
    "repeat_whole_solution",
    "rev_solving_skipped",
    "rev_unknown_renamed",
    "tail_after_answer",
    "two_answers_right_first",
}
REJECTED = {
    "answer_with_unit",
    "answer_words_first",
    "define_a_for_as",
    "lowercase_define",
    "name_case",
    "no_answer_tag_plain_answer",
    "no_semicolon_after_variable",
    "redefine_wrong_then_right",
    "two_letter_variable",
    "words_before_variable",
}
EXECUTED = {"collapse_one_letter", "shuffle_all"}  # judged like any other text: some orders and reuses do hold


def _lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def problems(conformance):
    return {row["pid"]: row for row in _lines(conformance / "problems.jsonl.gz")}


@pytest.fixture(scope="module")
def rows(conformance):
    return _lines(conformance / "verdicts.jsonl.gz")


@pytest.fixture(scope="module")
def strict(problems, rows):
    golds = {pid: prepare(row["problem"], row["question"], row["solution"]) for pid, row in problems.items()}
    return [verify(row["text"], golds[row["pid"]]) for row in rows]


def test_strict_mode_says_what_is_expected_on_every_row_with_an_expectation(rows, strict):
    wrong = Counter(
        row["mut"]
        for row, judgement in zip(rows, strict, strict=True)
        if row["expected"] is not None and judgement.verified != row["expected"]
    )
    assert wrong == {}


def test_strict_mode_keeps_its_documented_conventions(rows, strict):
    open_rows = [
        (row["mut"], judgement.verified) for row, judgement in zip(rows, strict, strict=True) if row["expected"] is None
    ]
    assert {mutation for mutation, _ in open_rows} == ACCEPTED | REJECTED | EXECUTED
    assert [mutation for mutation, verified in open_rows if mutation in ACCEPTED and not verified] == []
    assert [mutation for mutation, verified in open_rows if mutation in REJECTED and verified] == []


def test_strict_mode_names_a_first_error_or_a_fault_exactly_when_it_rejects(strict):
    for judgement in strict:
        assert judgement.verified == (judgement.first_error is None and not judgement.faults)
        assert not judgement.verified or judgement.process_accuracy == 1.0


def test_strict_spans_follow_one_another_and_hold_their_step(rows, strict):
    for row, judgement in zip(rows, strict, strict=True):
        end = 0
        for step in judgement.steps:
            assert end <= step.start <= step.end <= len(row["text"])
            end = step.end
            assert step.start == step.end or row["text"][step.start : step.end].lower().startswith("define")


def test_reference_mode_reproduces_every_field_of_every_row(problems, rows):
    wrong = Counter(
        (row["mut"], field)
        for row in rows
        for field, value in judge(row["text"], problems[row["pid"]]["solution"]).to_record().items()
        if value != row[field]
    )
    assert wrong == {}


def test_reference_mode_reads_the_gold_graph_of_every_problem(problems):
    for row in problems.values():
        nodes = read_graph(row["solution"]).nodes.values()
        assert [[n.name, n.variable, n.value, sorted(n.parents)] for n in nodes] == row["gold"]


def test_the_modes_differ_only_on_rows_whose_reference_judgement_is_in_doubt_or_a_convention(rows, strict):
    for row, judgement in zip(rows, strict, strict=True):
        if row["expected"] is not None and not row.get("quirk"):
            assert judgement.verified == row["perfect"] == row["expected"]
