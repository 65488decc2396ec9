import json
import math

import pytest

from tests.judgements import trace
from verifier.errors import BadJudgement
from verifier.judgement import (
    AnswerStatus,
    Judgement,
    StepStatus,
    TraceJudgement,
    checked,
    from_record,
    to_record,
)

R, W, O, D, M = (  # noqa: E741
    StepStatus.RIGHT,
    StepStatus.WRONG_VALUE,
    StepStatus.WRONG_OPERAND,
    StepStatus.DUPLICATE,
    StepStatus.MISSING,
)


def test_a_judgement_without_steps_is_legal_and_counts_by_its_answer():
    assert (Judgement(right=True).solved, Judgement(right=True).score) == (True, 1.0)
    assert Judgement(right=False, answer="4", partial=0.5).score == 0.5
    statuses = [Judgement(right=False, answer=answer).answer_status for answer in ("4", None)]
    assert statuses == [AnswerStatus.WRONG, AnswerStatus.MISSING]


def test_a_trace_counts_as_solved_only_if_it_is_verified():
    assert trace(R, R, R, R).solved
    lucky = trace(R, W)
    assert lucky.right
    assert not lucky.solved


def test_credit_blames_the_first_wrong_step_of_every_path():
    judged = trace(R, W, W, D, R, O, M, inherited=(2, 4))
    assert [step.credit for step in judged.steps] == [1.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0]


def test_judgements_come_back_from_a_file():
    for judgement in (Judgement(right=False, answer="4", partial=0.5), trace(R, W, M, inherited=(1,))):
        assert from_record(json.loads(json.dumps(to_record(judgement)))) == judgement


def test_what_a_lying_judge_returns_is_refused_in_one_short_line():
    lies = [
        None,
        True,
        Judgement(right="yes"),  # pyright: ignore[reportArgumentType]
        Judgement(right=True, answer=4),  # pyright: ignore[reportArgumentType]
        Judgement(right=True, answer="x" * 100_000),
        Judgement(right=True, partial=math.nan),
        Judgement(right=True, partial=2.0),
        TraceJudgement(
            right=True, verified=True, process_accuracy=1.5, steps=(), first_error=None, faults=(), needed=1
        ),
    ]
    for lie in lies:
        with pytest.raises(BadJudgement) as told:
            checked(lie)
        assert len(str(told.value)) < 200
    with pytest.raises(BadJudgement, match=r"^partial is 2.0: make it a number from 0 to 1$"):
        checked(Judgement(right=True, partial=2.0))
    assert checked(Judgement(right=False, partial=1)) == Judgement(right=False, partial=1)
