"""What each stage spent: tokens, FLOPs, seconds, and the paper's own unit for comparing mid-training with RL.

Counting is the learner's and the fleet's; this module only adds up and converts. Source: paper, "equal compute".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.records import RolloutGroup
from trainers.budget import Spent
from trainers.records import Batch

_DRAWING_PASSES = 1 / 3
_RL_PASSES = 5 / 3  # training passes per token that the paper counts for RL: draw 2, score 2, update 6, of 6 units


@dataclass(frozen=True, slots=True)
class StageRecord:
    """A finished stage: its wall time and what it spent, as `Spent` counts it."""

    name: str
    kind: str
    seconds: float
    tokens: int = 0
    flops: float = 0.0
    paper_tokens: float = 0.0

    @classmethod
    def of(cls, name: str, kind: str, seconds: float, spent: Spent) -> StageRecord:
        """The record of a stage that ended now."""
        return cls(name, kind, seconds, spent.tokens, spent.flops, spent.paper_tokens)


@dataclass(frozen=True, slots=True)
class LearningCost:
    """What a learner's step costs: `forward(context)` FLOPs a token, of which `head` are the output layer's.

    Prompt tokens are not read off, so the head is paid for predicted tokens alone.
    """

    forward: Callable[[float], float]
    head: float
    with_reference: bool

    @classmethod
    def of(cls, config: Any, with_reference: bool) -> LearningCost:
        """For a model of this transformers configuration, with or without the pass of a KL penalty's reference."""
        from actors.policy.model import forward_flops

        return cls(forward_flops(config), 2.0 * config.vocab_size * config.hidden_size, with_reference)

    def flops(self, batch: Batch) -> float:
        """Three passes' worth for training, one more for each of old and reference log-probabilities."""
        passes = 3 + (len(batch.minibatches) > 1) + self.with_reference
        flops = 0.0
        for stream in batch.streams:
            context = stream.visible_pairs / stream.tokens
            flops += stream.tokens * (self.forward(context) - self.head) + len(stream.targets) * self.head
        return passes * flops


def paper_tokens(completions: int, longest: int) -> float:
    """RL in equivalent training tokens as the paper counts it: (5/3) N r L, of N prompts drawn r times each.

    `longest` (L) is the run's own longest sequence, prompt and completion, in tokens.
    """
    return _RL_PASSES * completions * longest


def drawing_paper_tokens(completions: int, longest: int) -> float:
    """Drawing without scoring or updating, in the same unit: the first 2 of RL's 10 parts in 6."""
    return _DRAWING_PASSES * completions * longest


def sampling_flops(group: RolloutGroup, forward: Callable[[float], float]) -> float:
    """Forward FLOPs of drawing a group: its prompt once, since engines keep prefixes, and each token it wrote.

    `forward(context)` is the cost of one token that sees `context` positions (`actors.policy.model.forward_flops`).
    """
    prompt = len(group.prompt_ids)
    written = [len(rollout.completion.token_ids) for rollout in group.rollouts]
    return prompt * forward(prompt / 2) + sum(count * forward(prompt + count / 2) for count in written)
