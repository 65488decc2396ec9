"""How much better than its siblings a completion was, as one number per completion and then per token.

Pure functions on rewards and step credits. An advantage is the reward minus the mean of its group; a group whose
rewards are all equal has none, whatever the scale, and nothing is ever divided by zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actors.records import Rollout

_SMALLEST_DEVIATION = 1e-6  # below it rewards count as equal


def has_signal(rollouts: Sequence[Rollout], step_weight: float) -> bool:
    """Whether any token of a group has an advantage: its rewards differ or, with a step weight, its credits do."""
    if len({rollout.reward for rollout in rollouts}) > 1:
        return True
    return step_weight > 0 and len({credit.credit for rollout in rollouts for credit in rollout.credits}) > 1


def group_advantages(
    rewards: Sequence[Sequence[float]], scale: Literal["none", "group", "batch"] = "none"
) -> list[list[float]]:
    """Reward minus the group's mean, divided by nothing, by the group's deviation or by that of the whole batch.

    "group" is the GRPO paper's, "none" is Dr. GRPO's, "batch" keeps easy and hard groups in proportion.
    """
    centred = [[reward - fmean(group) for reward in group] for group in rewards]
    if scale == "none":
        return centred
    if scale == "group":
        return [_divided(group, pstdev(group)) for group in centred]
    deviation = pstdev([advantage for group in centred for advantage in group])
    return [_divided(group, deviation) for group in centred]


def token_advantages(
    rollouts: Sequence[Rollout], advantages: Sequence[float], step_weight: float
) -> list[NDArray[np.float32]]:
    """The advantage of each token: its completion's, plus `step_weight` times its step's centred credit.

    Credits are centred on the mean credit of all steps of the group, so steps that everyone gets right add nothing.
    Tokens outside any step have the completion's advantage alone.
    """
    credits = [credit.credit for rollout in rollouts for credit in rollout.credits]
    mean = fmean(credits) if credits else 0.0
    result = []
    for rollout, advantage in zip(rollouts, advantages, strict=True):
        tokens = np.full(len(rollout.completion.token_ids), advantage, np.float32)
        if step_weight:
            for credit in rollout.credits:
                tokens[credit.start : credit.end] += step_weight * (credit.credit - mean)
        result.append(tokens)
    return result


def _divided(values: Sequence[float], deviation: float) -> list[float]:
    return [value / deviation for value in values] if deviation > _SMALLEST_DEVIATION else [0.0] * len(values)
