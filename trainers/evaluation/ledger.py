"""What each stage spent: tokens, FLOPs, seconds, and the paper's own unit for comparing mid-training with RL.

The learner and the fleet count; this module only adds and converts. Source: the paper, "equal compute".
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
        """The record of a stage that ends now."""
        return cls(name, kind, seconds, spent.tokens, spent.flops, spent.paper_tokens)


@dataclass(frozen=True, slots=True)
class LearningCost:
    """The cost of a learner step: `forward(context)` FLOPs per token, of which `head` are the output layer's.

    Nothing is predicted from most prompt tokens, so the head is counted for predicted tokens alone.
    """

    forward: Callable[[float], float]
    head: float
    with_reference: bool

    @classmethod
    def of(cls, config: Any, with_reference: bool) -> LearningCost:
        """The cost for a model with this transformers configuration, with or without the reference of a KL penalty."""
        from actors.policy.model import forward_flops

        return cls(forward_flops(config), 2.0 * config.vocab_size * config.hidden_size, with_reference)

    def flops(self, batch: Batch) -> float:
        """Three forward passes' worth for training, and one more each for old and reference log-probabilities."""
        passes = 3 + (len(batch.minibatches) > 1) + self.with_reference
        flops = 0.0
        for stream in batch.streams:
            context = stream.visible_pairs / stream.tokens
            flops += stream.tokens * (self.forward(context) - self.head) + len(stream.targets) * self.head
        return passes * flops


def paper_tokens(completions: int, longest: int) -> float:
    """RL in equivalent training tokens as the paper counts it: (5/3) N r L, for N prompts drawn r times each.

    `longest` (L) is the run's own longest sequence, prompt and completion, in tokens.
    """
    return _RL_PASSES * completions * longest


def drawing_paper_tokens(completions: int, longest: int) -> float:
    """Drawing without scoring or updating, in the same unit: 2 of the 10 parts that RL is counted as."""
    return _DRAWING_PASSES * completions * longest


def sampling_flops(group: RolloutGroup, forward: Callable[[float], float]) -> float:
    """Forward FLOPs of drawing a group: its prompt once, since engines cache prefixes, and each token drawn.

    `forward(context)` is the cost of one token that sees `context` positions (`actors.policy.model.forward_flops`).
    """
    prompt = len(group.prompt_ids)
    written = [len(rollout.completion.token_ids) for rollout in group.rollouts]
    return prompt * forward(prompt / 2) + sum(count * forward(prompt + count / 2) for count in written)
