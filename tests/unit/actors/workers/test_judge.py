"""Judging one completion: text, reward, credits on tokens, and what a failing verifier becomes."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from actors.policy.tokenizer import EOS, TokenizerConfig, build_tokenizer
from actors.records import Completion, TokenCredit
from actors.workers.judge import judge, token_credits
from verifier.graphs.generate import generate
from verifier.graphs.problem import Problem, ProblemSpec
from verifier.graphs.tell import prompt_text, training_text
from verifier.rewards.registry import NAMES, Reward

SCHEME = (Reward("strict"),)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TokenizerConfig())


@pytest.fixture(scope="module")
def problem() -> Problem:
    return generate(ProblemSpec(op=4), 11)


def gold_text(problem: Problem) -> str:
    prompt = prompt_text(problem.problem, problem.question)
    return training_text(problem.problem, problem.question, problem.solution).removeprefix(prompt)


def completion_of(tokenizer, text: str) -> Completion:
    ids = (*tokenizer.encode(text, add_special_tokens=False), EOS)
    return Completion(0, ids, (-0.1,) * len(ids), "stop", 1, 1)


def test_the_gold_trace_earns_everything_and_every_step_gets_its_credit(tokenizer, problem: Problem) -> None:
    rollout = judge(tokenizer, problem, completion_of(tokenizer, gold_text(problem)), SCHEME)
    assert rollout.error is None
    assert rollout.reward == 1.0
    assert rollout.verdict is not None
    assert rollout.verdict.verified
    assert len(rollout.credits) == len(rollout.verdict.steps)
    assert all(credit.credit > 0 for credit in rollout.credits)


def test_a_right_trace_that_never_ends_earns_nothing_under_any_scheme(tokenizer, problem: Problem) -> None:
    ended = completion_of(tokenizer, gold_text(problem))
    cut_off = dataclasses.replace(ended, token_ids=(*ended.token_ids[:-1], ended.token_ids[0]), finish_reason="length")
    for name in NAMES:
        rollout = judge(tokenizer, problem, cut_off, (Reward(name),))
        assert rollout.verdict is not None
        assert rollout.verdict.verified
        assert rollout.reward == 0.0


def test_a_completion_that_the_engine_gave_up_has_an_error_and_no_reward(tokenizer, problem: Problem) -> None:
    completion = dataclasses.replace(completion_of(tokenizer, gold_text(problem)), finish_reason="abort")
    rollout = judge(tokenizer, problem, completion, SCHEME)
    assert rollout.reward is None
    assert rollout.error == "the engine gave the completion up"


def test_ids_beyond_the_tokenizer_are_judged_as_no_text(tokenizer, problem: Problem) -> None:
    completion = completion_of(tokenizer, gold_text(problem))
    ids = (*completion.token_ids[:-1], len(tokenizer) + 3, EOS)
    rollout = judge(tokenizer, problem, dataclasses.replace(completion, token_ids=ids), SCHEME)
    assert rollout.error is None
    assert rollout.reward == 1.0


def test_credits_lie_on_the_tokens_that_spell_their_step(tokenizer, problem: Problem) -> None:
    completion = completion_of(tokenizer, gold_text(problem))
    rollout = judge(tokenizer, problem, completion, SCHEME)
    assert rollout.verdict is not None
    for credit, step in zip(rollout.credits, rollout.verdict.steps, strict=True):
        spelled = tokenizer.decode(completion.token_ids[credit.start : credit.end])
        assert rollout.text[step.start : step.end].strip(" .") in spelled


def test_credits_never_overlap_and_keep_their_order(tokenizer, problem: Problem) -> None:
    credits = judge(tokenizer, problem, completion_of(tokenizer, gold_text(problem)), SCHEME).credits
    assert all(a.end <= b.start for a, b in itertools.pairwise(credits))


def test_a_failing_verifier_is_an_error_and_never_a_reward(tokenizer, problem: Problem) -> None:
    broken = dataclasses.replace(problem, solution="no trace at all")
    rollout = judge(tokenizer, broken, completion_of(tokenizer, gold_text(problem)), SCHEME)
    assert rollout.reward is None
    assert rollout.verdict is None
    assert rollout.error is not None
    assert rollout.error.startswith("MalformedProblem")


def test_nonsense_is_judged_wrong_without_an_error(tokenizer, problem: Problem) -> None:
    rollout = judge(tokenizer, problem, completion_of(tokenizer, "__import__('os') {0} <b> 9" * 3), SCHEME)
    assert rollout.error is None
    assert rollout.reward == 0.0


def test_a_token_belongs_to_the_step_that_holds_its_last_character() -> None:
    spans = [(0, 4), (4, 9), (9, 10), (10, 16)]
    assert token_credits([(1, 9, 1.0), (10, 16, -1.0)], spans) == (TokenCredit(0, 2, 1.0), TokenCredit(3, 4, -1.0))


def test_a_step_inside_one_token_that_reaches_beyond_it_has_no_credit() -> None:
    assert token_credits([(2, 3, 1.0)], [(0, 10)]) == ()
    assert token_credits([], []) == ()
