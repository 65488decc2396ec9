"""The losses: pure functions from per-token streams to a scalar, and what they say about the step.

All share one form, the weighted sum over tokens of a policy term plus `kl` times a penalty; the denominators are in the
weights (`trainers.learner.packing`). Nothing here knows models, batches or ranks.
Sources: GRPO arXiv 2402.03300, DAPO 2503.14476, Dr. GRPO 2503.20783, CISPO 2506.13585, KL estimators: Schulman (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainers.config import LossConfig


@dataclass(frozen=True, slots=True)
class TokenStreams:
    """Per-token inputs, all of shape [N]; only `logprob` carries gradients.

    `old_logprob` is the learner's own before the step, `correction` the capped ratio of it to the behaviour policy
    (1 where they are the same), `reference_logprob` is None without a KL penalty.
    """

    logprob: Tensor
    old_logprob: Tensor
    advantage: Tensor
    weight: Tensor
    correction: Tensor
    reference_logprob: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Losses:
    """The scalar to differentiate, and detached sums over tokens: KL to the reference and clipped tokens."""

    loss: Tensor
    kl: Tensor
    clipped: Tensor


def policy_loss(streams: TokenStreams, config: LossConfig) -> Losses:
    """The loss of one stream. Losses of streams add up to the loss of the batch."""
    term, clipped = _policy_term(streams, config)
    per_token = term * streams.correction
    kl = torch.zeros_like(streams.logprob)
    if streams.reference_logprob is not None:
        kl = kl_penalty(streams.logprob, streams.reference_logprob, config.kl_estimator)
        per_token = per_token + config.kl * kl
    return Losses((streams.weight * per_token).sum(), kl.detach().sum(), clipped.sum())


def kl_penalty(logprob: Tensor, reference_logprob: Tensor, estimator: Literal["k2", "k3"]) -> Tensor:
    """KL(policy || reference) per token: k3 is unbiased and never negative, k2's gradient is unbiased."""
    difference = reference_logprob - logprob
    if estimator == "k2":
        return difference.square() / 2
    return difference.exp() - difference - 1


def mismatch_correction(old_logprob: Tensor, behaviour_logprob: Tensor, differs: Tensor, cap: float) -> Tensor:
    """Truncated importance weight of tokens that another policy drew; exactly 1 where `differs` is false."""
    ratio = (old_logprob - behaviour_logprob).exp().clamp(max=cap)
    return torch.where(differs, ratio, torch.ones_like(ratio))


def _policy_term(streams: TokenStreams, config: LossConfig) -> tuple[Tensor, Tensor]:
    """The policy part per token, and which tokens the clip silenced."""
    nothing = torch.zeros_like(streams.logprob, dtype=torch.bool)
    if config.objective == "cross_entropy":
        return -streams.logprob, nothing
    if config.objective == "reinforce":
        return -streams.advantage * streams.logprob, nothing
    ratio = (streams.logprob - streams.old_logprob).exp()
    if config.objective == "cispo":
        capped = ratio.detach().clamp(max=1 + config.clip_high)
        return -capped * streams.advantage * streams.logprob, ratio.detach() > 1 + config.clip_high
    plain = ratio * streams.advantage
    bounded = ratio.clamp(1 - config.clip_low, 1 + config.clip_high) * streams.advantage
    return -torch.minimum(plain, bounded), (bounded < plain).detach()
