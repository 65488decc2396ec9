"""Judging one completion: text, reward, credits on tokens, and what a failing verifier becomes."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest

from actors.policy.tokenizer import EOS, TokenizerConfig, build_tokenizer
from actors.records import Completion, JudgeRequest, TokenCredit
from actors.workers.judge import judge, token_credits
from tests.judgements import trace
from verifier.families import config_of, open_task
from verifier.graphs.family import problem_of
from verifier.judgement import Judgement, StepStatus, TraceJudgement
from verifier.rewards.registry import NAMES, Reward

TASK = config_of("graphs").model_validate({"ops": [4]})


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TokenizerConfig())


@pytest.fixture(scope="module")
def by() -> JudgeRequest:
    task = open_task(TASK)
    return JudgeRequest(TASK, task.item(task.strata()[0], 11, 0, "train"), (Reward("strict"),))


def completion_of(tokenizer, text: str) -> Completion:
    ids = (*tokenizer.encode(text, add_special_tokens=False), EOS)
    return Completion(0, ids, (-0.1,) * len(ids), "stop", 1, 1)


def gold_of(tokenizer, by: JudgeRequest) -> Completion:
    assert by.item.gold is not None
    return completion_of(tokenizer, by.item.gold)


def test_the_gold_trace_earns_everything_and_every_step_gets_its_credit(tokenizer, by: JudgeRequest) -> None:
    rollout = judge(tokenizer, by, gold_of(tokenizer, by))
    assert rollout.error is None
    assert rollout.reward == 1.0
    assert isinstance(rollout.judgement, TraceJudgement)
    assert rollout.judgement.verified
    assert len(rollout.credits) == len(rollout.judgement.steps)
    assert all(credit.credit > 0 for credit in rollout.credits)


def test_a_right_trace_that_never_ends_earns_nothing_under_any_scheme(tokenizer, by: JudgeRequest) -> None:
    ended = gold_of(tokenizer, by)
    cut_off = dataclasses.replace(ended, token_ids=(*ended.token_ids[:-1], ended.token_ids[0]), finish_reason="length")
    for name in NAMES:
        rollout = judge(tokenizer, dataclasses.replace(by, rewards=(Reward(name),)), cut_off)
        assert isinstance(rollout.judgement, TraceJudgement)
        assert rollout.judgement.verified
        assert rollout.reward == 0.0


def test_a_completion_that_the_engine_gave_up_has_an_error_and_no_reward(tokenizer, by: JudgeRequest) -> None:
    completion = dataclasses.replace(gold_of(tokenizer, by), finish_reason="abort")
    rollout = judge(tokenizer, by, completion)
    assert rollout.reward is None
    assert rollout.error == "the engine aborted the completion"


def test_ids_beyond_the_tokenizer_are_judged_as_no_text(tokenizer, by: JudgeRequest) -> None:
    completion = gold_of(tokenizer, by)
    ids = (*completion.token_ids[:-1], len(tokenizer) + 3, EOS)
    rollout = judge(tokenizer, by, dataclasses.replace(completion, token_ids=ids))
    assert rollout.error is None
    assert rollout.reward == 1.0


def test_credits_lie_on_the_tokens_that_spell_their_step(tokenizer, by: JudgeRequest) -> None:
    completion = gold_of(tokenizer, by)
    rollout = judge(tokenizer, by, completion)
    assert isinstance(rollout.judgement, TraceJudgement)
    for credit, step in zip(rollout.credits, rollout.judgement.steps, strict=True):
        spelled = tokenizer.decode(completion.token_ids[credit.start : credit.end])
        assert rollout.text[step.start : step.end].strip(" .") in spelled


def test_credits_never_overlap_and_keep_their_order(tokenizer, by: JudgeRequest) -> None:
    credits = judge(tokenizer, by, gold_of(tokenizer, by)).credits
    assert all(a.end <= b.start for a, b in itertools.pairwise(credits))


def test_a_failing_verifier_is_an_error_and_never_a_reward(tokenizer, by: JudgeRequest) -> None:
    problem = dataclasses.replace(problem_of(by.item), solution="no trace at all")
    broken = dataclasses.replace(by, item=dataclasses.replace(by.item, payload=problem))
    rollout = judge(tokenizer, broken, gold_of(tokenizer, by))
    assert rollout.reward is None
    assert rollout.judgement is None
    assert rollout.error is not None
    assert rollout.error.startswith("MalformedProblem")


def lying(item, text, judgement):
    return math.nan


def raising(item, text, judgement):
    raise ZeroDivisionError("of the reward" + text * 1_000)


@pytest.mark.parametrize(
    ("name", "told"), [("lying", "make it a number from 0 to 1"), ("raising", "ZeroDivisionError: of the reward")]
)
def test_a_users_reward_that_lies_or_raises_is_an_error_and_never_a_reward(
    tokenizer, by: JudgeRequest, name: str, told: str
) -> None:
    own = dataclasses.replace(by, rewards=(Reward("strict"), Reward(f"{__name__}:{name}")))
    rollout = judge(tokenizer, own, gold_of(tokenizer, by))
    assert (rollout.judgement, rollout.reward, rollout.credits) == (None, None, ())
    assert told in (rollout.error or "")
    assert len(rollout.error or "") <= 500


def test_nonsense_is_judged_wrong_without_an_error(tokenizer, by: JudgeRequest) -> None:
    rollout = judge(tokenizer, by, completion_of(tokenizer, "__import__('os') {0} <b> 9" * 3))
    assert rollout.error is None
    assert rollout.reward == 0.0


def test_a_judgement_without_steps_has_no_credits() -> None:
    assert token_credits(Judgement(right=True), [(0, 4)]) == ()
    step = trace(StepStatus.RIGHT, StepStatus.WRONG_VALUE)  # at characters 0-9 and 10-19
    spans = [(0, 4), (4, 9), (9, 10), (10, 19)]
    assert token_credits(step, spans) == (TokenCredit(0, 2, 1.0), TokenCredit(3, 4, -1.0))
