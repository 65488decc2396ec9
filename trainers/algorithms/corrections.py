"""Importance weights and masks for tokens that another policy drew: an older version, or the same in another dtype.

The weight is (old / behaviour): the learner's probability before the step, divided by that of the engine that sampled.
Where the two are the same policy, weight and mask are exactly 1. Sources: truncated importance sampling (Ionides 2008),
token level as in arXiv 2509.01321 and TRL; the geometric mean of a completion's ratios as in verl's rollout correction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.algorithms.tokens import completion_mean, completion_sum
from trainers.config import CorrectionConfig


@dataclass(frozen=True, slots=True)
class Correction:
    """The factor of each token's loss [N], the weight before the mask, and which tokens were capped or masked."""

    factor: Tensor
    weight: Tensor
    capped: Tensor
    masked: Tensor


def correction(log_ratio: Tensor, completion: Tensor, differs: Tensor, config: CorrectionConfig) -> Correction:
    """The correction from log(old / behaviour) per token; tokens for which `differs` is false have a ratio of 1."""
    log_ratio = torch.where(differs, log_ratio, torch.zeros_like(log_ratio))
    ratio = _levelled(log_ratio, completion, config.weights)
    weight = ratio.clamp(config.weight_low, config.weight_high)
    measured = _levelled(log_ratio, completion, config.mask)
    low, high = config.mask_low or 0.0, config.mask_high or torch.inf
    masked = (measured < low) | (measured > high)
    return Correction(weight.masked_fill(masked, 0.0), weight, weight != ratio, masked)


def no_correction(like: Tensor) -> Correction:
    """Every factor 1."""
    ones, none = torch.ones_like(like), torch.zeros_like(like, dtype=torch.bool)
    return Correction(ones, ones, none, none)


def _levelled(log_ratio: Tensor, completion: Tensor, level: str) -> Tensor:
    """The ratio of each token, or of its whole completion: the product, or the geometric mean, of its tokens'."""
    if level == "none":
        return torch.ones_like(log_ratio)
    if level == "sequence":
        log_ratio = completion_sum(log_ratio, completion)
    if level == "geometric":
        log_ratio = completion_mean(log_ratio, completion)
    return log_ratio.exp()
