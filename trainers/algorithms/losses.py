"""The loss of a stream: the algorithm's objective, corrected, plus the KL penalty, as a weighted sum.

Denominators are in the weights (`trainers.learner.packing`), so the losses of streams add up to the loss of the batch.
Nothing here knows models, batches or ranks. KL estimators: Schulman, "Approximating KL divergence" (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainers.algorithms.registry import ALGORITHMS
from trainers.algorithms.tokens import Tokens
from trainers.config import LearningConfig


@dataclass(frozen=True, slots=True)
class Losses:
    """The scalar to differentiate, and detached sums over tokens: KL to the reference and clipped tokens."""

    loss: Tensor
    kl: Tensor
    clipped: Tensor


def policy_loss(tokens: Tokens, config: LearningConfig) -> Losses:
    """The loss of one stream of completions."""
    term = ALGORITHMS[config.algorithm].objective(tokens, config)
    per_token = term.loss * tokens.correction
    kl = torch.zeros_like(tokens.logprob)
    if tokens.reference_logprob is not None:
        kl = kl_penalty(tokens.logprob, tokens.reference_logprob, config.kl_estimator)
        per_token = per_token + config.kl * kl
    return Losses((tokens.weight * per_token).sum(), kl.detach().sum(), term.clipped.sum())


def cross_entropy(logprob: Tensor, weight: Tensor) -> Tensor:
    """The loss of one stream of documents: the weighted negative log-probability."""
    return (weight * -logprob).sum()


def kl_penalty(logprob: Tensor, reference_logprob: Tensor, estimator: Literal["k2", "k3"]) -> Tensor:
    """KL(policy || reference) per token: k3 is unbiased and never negative, k2's gradient is unbiased."""
    difference = reference_logprob - logprob
    if estimator == "k2":
        return difference.square() / 2
    return difference.exp() - difference - 1
