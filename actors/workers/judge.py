"""The reward worker: judges completions as they arrive, step by step, on a CPU of its own.

Token ids become text once, here; verdicts become rewards and credits on tokens. Stateless and deterministic, so judging
again after a worker was lost gives the same rollouts. A verifier that fails is reported as such and is never a reward,
and a completion that was cut off earns nothing (docs/decisions/0054-cut-off-earns-nothing.md).
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from actors.policy.tokenizer import decode_with_offsets, load_tokenizer
from actors.records import Completion, Rollout, TokenCredit
from verifier.graphs.family import gold_of, item_of
from verifier.graphs.judge.judge import verify
from verifier.graphs.problem import Problem
from verifier.judgement import TraceJudgement
from verifier.rewards.registry import Rewards, reward
from verifier.task import Address, Stratum


class RewardWorker:
    """A Ray actor. One call judges a few completions of one problem."""

    def __init__(self, tokenizer_dir: Path) -> None:
        self._tokenizer = load_tokenizer(tokenizer_dir)

    async def start(self) -> int:
        """The process id, once the tokenizer is loaded."""
        return os.getpid()

    async def health(self) -> None:
        """Answers."""

    async def judge(self, problem: Problem, completions: Sequence[Completion], rewards: Rewards) -> tuple[Rollout, ...]:
        """The completions as rollouts, in order."""
        rollouts: list[Rollout] = []
        for completion in completions:
            rollouts.append(judge(self._tokenizer, problem, completion, rewards))
            await asyncio.sleep(0)  # let a health probe in
        return tuple(rollouts)

    async def stop(self) -> None:
        """Nothing is held."""


def judge(tokenizer: PreTrainedTokenizerFast, problem: Problem, completion: Completion, rewards: Rewards) -> Rollout:
    """Decode, verify, reward and map the credits to tokens; a verifier's exception becomes the rollout's error."""
    if completion.finish_reason == "abort":  # the engine's doing, not the policy's
        return Rollout(completion, "", None, None, error="the engine gave the completion up")
    text = ""
    try:
        text, spans = decode_with_offsets(tokenizer, completion.token_ids)
        verdict = verify(text, gold_of(problem))
        item = item_of(problem, Address(Stratum(()), 0, 0, "train"))
        value = 0.0 if completion.finish_reason == "length" else reward(verdict, item, text, rewards)
        credits = token_credits(step_credits(verdict), spans)
    except Exception as error:  # whatever it is, a verifier's fault must not pass for a wrong trace
        return Rollout(completion, text, None, None, error=f"{type(error).__name__}: {error}")
    return Rollout(completion, text, verdict, value, credits)


def token_credits(
    credits: Sequence[tuple[int, int, float]], spans: Sequence[tuple[int, int]]
) -> tuple[TokenCredit, ...]:
    """Credits on characters [start, end) as credits on tokens [start, end); `spans` are the tokens' characters.

    A token belongs to the step that holds its last character, since a token may begin with the blank or the full stop
    that parts two steps. A step that ends no token has no credit.
    """
    ends = [end for _, end in spans]
    placed = [(bisect_left(ends, start + 1), bisect_left(ends, end + 1), credit) for start, end, credit in credits]
    return tuple(TokenCredit(first, last, credit) for first, last, credit in placed if first < last)


def step_credits(judgement: TraceJudgement) -> tuple[tuple[int, int, float], ...]:
    """(char start, char end, credit) of the steps that earn or cost something, in text order."""
    return tuple((step.start, step.end, step.credit) for step in judgement.steps if step.credit)
