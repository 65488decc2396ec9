"""What each stage spent: tokens, FLOPs, seconds, and the paper's own unit for comparing mid-training with RL.

Counting is the learner's and the pool's; this module only adds up and converts. Source: paper, "equal compute".
"""

from __future__ import annotations

from dataclasses import dataclass

_RL_PASSES = 5 / 3  # training passes per token that the paper books for RL: draw 2, score 2, update 6, of 6 units


@dataclass(frozen=True, slots=True)
class StageRecord:
    """A finished stage: its wall time, the tokens its learner computed and the FLOPs of generation and learning."""

    name: str
    kind: str
    seconds: float
    tokens: int = 0
    flops: float = 0.0


def paper_tokens(prompts: int, group_size: int, longest: int) -> float:
    """RL in equivalent training tokens as the paper books it: (5/3) N r L, with L the run's own longest sequence."""
    return _RL_PASSES * prompts * group_size * longest


def paper_prompts(tokens: float, group_size: int, longest: int) -> int:
    """How many prompts that many training tokens buy."""
    return int(tokens / (_RL_PASSES * group_size * longest))


def sampling_flops(generated: int, prompt: int, flops_per_token: float) -> float:
    """Forward FLOPs of drawing a completion: its prompt once and each token it wrote."""
    return (generated + prompt) * flops_per_token
