"""What became of each problem and of the errors between two evaluations of the same problems."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.judgements import verified
from trainers.evaluation.change import BeforeAfter, changed_problems, changes
from trainers.evaluation.evaluate import Evaluation, ProblemScore, TextSample
from verifier.task import Address, Stratum

EASY, HARD = Stratum.of(op=2), Stratum.of(op=5)


def evaluation(*scores: ProblemScore) -> Evaluation:
    return Evaluation("c", 1.0, 10, 2e6, 1.0, scores, ())


def score(problem: str, strict: int | None, stratum: Stratum = EASY, outcome: int = 8, **more) -> ProblemScore:
    return ProblemScore(problem, stratum, 8, outcome, strict, None, more.pop("errors", {}), **more)


def test_a_problem_is_gained_lost_kept_or_never_solved_by_half_of_its_verified_traces():
    before = evaluation(score("a", 3), score("b", 4), score("c", 8), score("d", 0), score("e", 0, HARD))
    after = evaluation(score("a", 4), score("b", 3), score("c", 5), score("d", 3), score("e", 8, HARD))
    easy, hard = changes(before, after).values()
    assert (easy.problems, easy.gained, easy.lost, easy.kept, easy.never) == (4, 1, 1, 1, 1)
    assert (hard.problems, hard.gained) == (1, 1)


def test_right_answers_count_where_no_steps_are_judged():
    (change,) = changes(evaluation(score("a", None, outcome=3)), evaluation(score("a", None, outcome=4))).values()
    assert change.gained == 1
    assert change.errors == {}
    assert change.first_error == change.traces == BeforeAfter(None, None)


def test_errors_are_counted_per_completion_and_a_kind_that_is_gone_is_zero():
    before = evaluation(
        score("a", 0, errors={"missing": 8, "wrong value": 2}, first_errors={"wrong value": [0, 2]}, traces=4),
        score("b", 0, errors={"missing": 8}, first_errors={"missing": [0, 0, 0, 2]}, traces=2),
    )
    after = evaluation(
        score("a", 8, errors={"invented": 4}, first_errors={"invented": [4]}, traces=1), score("b", 8, traces=1)
    )
    (change,) = changes(before, after).values()
    assert change.errors == {
        "invented": BeforeAfter(0.0, 0.25),
        "missing": BeforeAfter(1.0, 0.0),
        "wrong value": BeforeAfter(0.125, 0.0),
    }
    assert change.first_error == BeforeAfter(2.0, 0.0)
    assert change.traces == BeforeAfter(3.0, 1.0)


def test_other_problems_are_refused():
    with pytest.raises(ValueError, match="same problems"):
        changes(evaluation(score("a", 1)), evaluation(score("b", 1)))


def text(said: str, stratum: Stratum, index: int) -> TextSample:
    return TextSample(Address(stratum, 1, index, "test"), f"problem {index}", said, verified(said == "right"))


def test_each_problem_that_has_texts_is_shown_with_its_fate_and_both_sides():
    before = replace(
        evaluation(score("a", 0), score("e", 8, HARD), score("f", 0, HARD)),
        texts=(text("wrong", EASY, 0), text("right", HARD, 0)),
    )
    after = replace(
        evaluation(score("a", 5), score("e", 1, HARD), score("f", 8, HARD)),
        texts=(text("right", EASY, 0), text("wrong", HARD, 0), text("right", HARD, 1)),
    )
    found = changed_problems(before, after)
    (gained,), (lost,) = found[EASY], found[HARD]
    assert (gained.fate, gained.prompt) == ("gained", "problem 0")
    assert (gained.before.right, gained.before.samples, gained.before.text) == (0, 8, "wrong")
    assert (gained.after.right, gained.after.text, gained.after.judgement.solved) == (5, "right", True)
    assert (lost.fate, lost.before.text, lost.after.text) == ("lost", "right", "wrong")


def test_evaluations_of_older_versions_have_no_texts_to_show():
    old = evaluation(score("a", 8), score("e", 0, HARD))
    assert changed_problems(old, replace(old, texts=(text("right", EASY, 0),))) == {EASY: [], HARD: []}
