"""The objectives that algorithms share: clipped ratios, and plain policy gradient.

Signs are those of a loss. A token whose ratio is clipped has no gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.algorithms.algorithm import Term

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.algorithms.tokens import Tokens
    from trainers.config import LearningConfig


def clipped_token_ratio(tokens: Tokens, config: LearningConfig) -> Term:
    """PPO's: -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) with r the token's own ratio (arXiv 1707.06347)."""
    return clipped((tokens.logprob - tokens.old_logprob).exp(), tokens.advantage, config)


def clipped(ratio: Tensor, advantage: Tensor, config: LearningConfig) -> Term:
    """The clipped objective of any ratio; with `dual_clip` the loss of a bad token is bounded too (1912.09729)."""
    low, high = config.clip
    plain = ratio * advantage
    bounded = ratio.clamp(1 - low, 1 + high) * advantage
    least = plain.minimum(bounded)
    silenced = (bounded < plain).detach()
    if config.dual_clip is not None:
        floor = advantage.clamp(max=0) * config.dual_clip
        silenced = silenced | (least < floor).detach() & (advantage < 0)
        least = least.maximum(floor).where(advantage < 0, least)
    return Term(-least, silenced)


def policy_gradient(tokens: Tokens, config: LearningConfig) -> Term:
    """-A log p, without a ratio."""
    loss = -tokens.advantage * tokens.logprob
    return Term(loss, loss.new_zeros(loss.shape).bool())
