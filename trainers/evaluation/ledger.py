"""What each stage spent: tokens, FLOPs, seconds, and the paper's own unit for comparing mid-training with RL.

Counting is the learner's and the fleet's; this module only adds up and converts. Source: paper, "equal compute".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actors.records import RolloutGroup

_RL_PASSES = 5 / 3  # training passes per token that the paper counts for RL: draw 2, score 2, update 6, of 6 units


@dataclass(frozen=True, slots=True)
class StageRecord:
    """A finished stage: its wall time, the tokens its learner computed (an evaluation: drew), and the FLOPs of all."""

    name: str
    kind: str
    seconds: float
    tokens: int = 0
    flops: float = 0.0


def paper_tokens(completions: int, longest: int) -> float:
    """RL in equivalent training tokens as the paper counts it: (5/3) N r L, of N prompts drawn r times each.

    `longest` (L) is the run's own longest sequence, prompt and completion, in tokens.
    """
    return _RL_PASSES * completions * longest


def sampling_flops(group: RolloutGroup, forward: Callable[[float], float]) -> float:
    """Forward FLOPs of drawing a group: its prompt once, since engines keep prefixes, and each token it wrote.

    `forward(context)` is the cost of one token that sees `context` positions (`actors.policy.model.forward_flops`).
    """
    prompt = len(group.prompt_ids)
    written = [len(rollout.completion.token_ids) for rollout in group.rollouts]
    return prompt * forward(prompt / 2) + sum(count * forward(prompt + count / 2) for count in written)
