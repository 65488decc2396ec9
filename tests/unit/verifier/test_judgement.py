import dataclasses
import json
import math

import pytest

from tests.judgements import trace
from verifier.errors import BadJudgement
from verifier.judgement import (
    MAX_TEXT,
    AnswerStatus,
    Judgement,
    StepJudgement,
    StepStatus,
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
    ]
    for lie in lies:
        with pytest.raises(BadJudgement) as told:
            checked(lie, "")
        assert len(str(told.value)) < 200
    with pytest.raises(BadJudgement, match=r"^partial is 2.0: make it a number from 0 to 1$"):
        checked(Judgement(right=True, partial=2.0), "")
    assert checked(Judgement(right=False, partial=1), "") == Judgement(right=False, partial=1)


TEXT = "x" * 40
STEP = StepJudgement("q", R, "because", 0, 9)


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ({"verified": 50.0}, r"verified is 50\.0: make it True or False"),
        ({"verified": math.nan}, "verified is nan"),
        ({"verified": None}, "verified is None"),
        ({"right": False}, "verified is True and right is False"),
        ({"first_error": 0}, "verified is True and first_error is 0: a trace with an error is not verified"),
        ({"faults": ("no",)}, "verified is True and faults has 'no' in it: a trace with a fault is not verified"),
        ({"process_accuracy": 1.5}, r"process_accuracy is 1\.5"),
        ({"steps": None}, "steps is None: make it a tuple of StepJudgement"),
        ({"steps": [STEP]}, "make it a tuple of StepJudgement"),
        ({"steps": ("q",)}, "steps has 'q' in it"),
        ({"faults": None}, "faults is None: make it a tuple of str"),
        ({"faults": (7,)}, "faults has 7 in it"),
        ({"faults": ("x" * (MAX_TEXT + 1),)}, f"a fault has {MAX_TEXT + 1} characters"),
        ({"first_error": 7}, "first_error is 7: make it None, or the place"),
        ({"first_error": 1}, "first_error is 1"),
        ({"first_error": -1}, "first_error is -1"),
        ({"first_error": True}, "first_error is True"),
        ({"needed": 0}, "needed is 0: make it a whole number above 0"),
        ({"needed": 1.0}, r"needed is 1\.0"),
    ],
)
def test_what_a_lying_judge_of_steps_returns_is_refused(lie, told):
    honest = dataclasses.replace(trace(R, needed=1), steps=(STEP,))
    assert checked(honest, TEXT) is honest
    unverified = dataclasses.replace(honest, verified=False, first_error=0, faults=("no",))
    assert checked(unverified, TEXT) is unverified
    with pytest.raises(BadJudgement, match=told):
        checked(dataclasses.replace(honest, **lie), TEXT)


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ({"start": 3, "end": 20}, "from 4, where the step before it ends"),
        ({"name": 7}, "the name of a step is 7"),
        ({"name": "x" * (MAX_TEXT + 1)}, "the name of a step has"),
        ({"reason": None}, "the reason of a step is None"),
        ({"status": "right"}, "make it a verifier.judgement.StepStatus"),
        ({"inherited": 1}, "inherited is 1"),
        ({"start": -5}, r"a step stands at \(-5, 9\)"),
        ({"end": 10**12}, "to 40, where the text ends"),
        ({"start": 9, "end": 8}, "a step stands at"),
        ({"end": 9.0}, "a step stands at"),
    ],
)
def test_a_lie_about_a_step_is_refused(lie, told):
    before, missing = (dataclasses.replace(STEP, start=at, end=at) for at in (4, len(TEXT)))
    honest = dataclasses.replace(STEP, start=4)
    judgement = dataclasses.replace(trace(R, needed=1), steps=(before, honest, missing))
    assert checked(judgement, TEXT) is judgement
    lying = dataclasses.replace(judgement, steps=(before, dataclasses.replace(honest, **lie), missing))
    with pytest.raises(BadJudgement, match=told):
        checked(lying, TEXT)
