"""The reward worker: judges completions as they arrive, on a CPU of its own.

Token ids become text once, here; judgements become rewards and credits on tokens. Stateless and deterministic, so
judging again after a worker was lost gives the same rollouts. A judge that fails is reported as such and is never a
reward, and a completion that was cut off earns nothing (docs/decisions/0054-cut-off-earns-nothing.md).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actors.policy.tokenizer import decode_with_offsets, load_tokenizer
from actors.records import Completion, JudgeRequest, Rollout, TokenCredit
from actors.spans import tokens_of
from verifier.families import open_task
from verifier.judgement import Judgement, TraceJudgement, checked
from verifier.rewards.registry import reward

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MAX_SAID = 500  # characters of what a judge's exception says


class RewardWorker:
    """A Ray actor. One call judges a few completions of one item."""

    def __init__(self, tokenizer_dir: Path) -> None:
        self._tokenizer = load_tokenizer(tokenizer_dir)

    async def start(self) -> int:
        """Return the process id; the tokenizer is loaded by then."""
        return os.getpid()

    async def health(self) -> None:
        """Answer a health check."""

    async def judge(self, by: JudgeRequest, completions: Sequence[Completion]) -> tuple[Rollout, ...]:
        """The completions as rollouts, in order."""
        rollouts: list[Rollout] = []
        for completion in completions:
            rollouts.append(judge(self._tokenizer, by, completion))
            await asyncio.sleep(0)  # let a health check run
        return tuple(rollouts)

    async def stop(self) -> None:
        """Nothing to free."""


def judge(tokenizer: PreTrainedTokenizerFast, by: JudgeRequest, completion: Completion) -> Rollout:
    """Decode, judge, reward, and map the credits to tokens. An exception of the judge becomes the rollout's error."""
    if completion.finish_reason == "abort":  # the engine's doing, not the policy's
        return Rollout(completion, "", None, None, error="the engine aborted the completion")
    text = ""
    try:
        text, spans = decode_with_offsets(tokenizer, _written(completion))
        judgement = checked(open_task(by.task).judge(by.item, text), text)
        value = 0.0 if completion.finish_reason == "length" else reward(judgement, by.item, text, by.rewards)
        credits = token_credits(judgement, spans)
    except (Exception, SystemExit) as error:  # whatever it is, a judge's fault must not pass for a wrong answer
        return Rollout(completion, text, None, None, error=f"{type(error).__name__}: {error}"[:_MAX_SAID])
    return Rollout(completion, text, judgement, value, credits)


def _written(completion: Completion) -> tuple[int, ...]:
    """The tokens of the text: without the one that ended it."""
    return completion.token_ids[:-1] if completion.finish_reason == "stop" else completion.token_ids


def token_credits(judgement: Judgement, spans: Sequence[tuple[int, int]]) -> tuple[TokenCredit, ...]:
    """The credits of the steps that earn or cost something, on tokens; `spans` are the tokens' characters.

    A step that ends no token has no credit.
    """
    if not isinstance(judgement, TraceJudgement):
        return ()
    ends = [end for _, end in spans]
    placed = [(*tokens_of(step.start, step.end, ends), step.credit) for step in judgement.steps if step.credit]
    return tuple(TokenCredit(first, last, credit) for first, last, credit in placed if first < last)
