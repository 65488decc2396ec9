"""Advantages: how much better a completion is than the others of its group, per completion and then per token.

Pure functions of rewards and step credits, of which algorithms are composed. A group whose rewards are all equal has no
advantage in any of them, and nothing is ever divided by zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import comb
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from actors.records import Rollout
from trainers.algorithms.algorithm import Rewards

if TYPE_CHECKING:
    from trainers.config import LearningConfig

Scale = Literal["none", "group", "batch"]
CreditKind = Literal["immediate", "to_go"]

_SMALLEST_DEVIATION = 1e-6  # up to it rewards count as equal


def centred(rewards: Rewards, config: LearningConfig) -> list[list[float]]:
    """Reward minus the group's mean; `advantage_scale` divides it by the group's deviation, the batch's or nothing."""
    return scaled(_centred(rewards), config.advantage_scale)


def scaled(advantages: list[list[float]], scale: Scale | None) -> list[list[float]]:
    """Centred advantages over the sample deviation (n - 1, as TRL and verl divide) of their group or of the batch."""
    if scale == "group":
        return [_divided(group, _deviation(group)) for group in advantages]
    if scale == "batch":
        deviation = _deviation([advantage for group in advantages for advantage in group])
        return [_divided(group, deviation) for group in advantages]
    return advantages


def leave_one_out(rewards: Rewards, config: LearningConfig) -> list[list[float]]:
    """Reward minus the mean of the *other* members: n / (n - 1) times the centred reward."""
    made = _centred(rewards)
    return [[a * len(group) / (len(group) - 1) for a in group] if len(group) > 1 else group for group in made]


def over_mean(rewards: Rewards, config: LearningConfig) -> list[list[float]]:
    """Reward minus the group's mean, divided by that mean."""
    return [_divided(group, fmean(own)) for group, own in zip(_centred(rewards), rewards, strict=True)]


def best_of_k(rewards: Rewards, config: LearningConfig) -> list[list[float]]:
    """How much a completion adds to the best of `pass_k` draws from its group, divided by that best's deviation."""
    assert config.pass_k is not None
    return [_best_of(group, config.pass_k) for group in rewards]


def overlong(lengths: Sequence[int], max_tokens: int, buffer: int) -> list[float]:
    """DAPO's soft penalty: 0 up to max_tokens - buffer, then falling to -1 at max_tokens (2503.14476, eq. 13)."""
    return [-min(1.0, max(0, length - (max_tokens - buffer)) / buffer) for length in lengths]


def _best_of(rewards: Sequence[float], k: int) -> list[float]:
    """Exact over all subsets of k: mean of the maximum where a member is in, minus that overall, over its deviation."""
    count, k = len(rewards), min(k, len(rewards))
    ordered = sorted(rewards)
    chances = [comb(below, k - 1) / comb(count, k) for below in range(count)]
    mean = sum(c * r for c, r in zip(chances, ordered, strict=True))
    variance = sum(c * (r - mean) ** 2 for c, r in zip(chances, ordered, strict=True))
    return _divided([_best_with(r, ordered, k) - mean for r in rewards], variance**0.5)


def _best_with(reward: float, ordered: Sequence[float], k: int) -> float:
    """The mean of the maximum of a member with this reward and k - 1 of the others."""
    others = list(ordered)
    others.remove(reward)
    if k == 1:
        return reward
    chances = (comb(below, k - 2) / comb(len(others), k - 1) for below in range(len(others)))
    return sum(c * max(reward, other) for c, other in zip(chances, others, strict=True))


def token_advantages(
    rollouts: Sequence[Rollout], advantages: Sequence[float], step_weight: float, kind: CreditKind = "immediate"
) -> list[NDArray[np.float32]]:
    """The advantage of each token: its completion's, plus `step_weight` times its step's centred credit.

    Credits are centred on the mean credit of all steps of the group that have one, so steps that everyone gets right
    add nothing. With `to_go` a step's tokens get the sum of the centred credits of this step and all later ones (arXiv
    2402.03300, section 4.1.3, without its division by the deviation). Tokens outside any step have the completion's
    advantage alone.
    """
    credits = [credit.credit for rollout in rollouts for credit in rollout.credits]
    mean = fmean(credits) if credits else 0.0
    result = []
    for rollout, advantage in zip(rollouts, advantages, strict=True):
        tokens = np.full(len(rollout.completion.token_ids), advantage, np.float32)
        if step_weight:
            centred_credits = [credit.credit - mean for credit in rollout.credits]
            given = _sums_to_go(centred_credits) if kind == "to_go" else centred_credits
            for credit, value in zip(rollout.credits, given, strict=True):
                tokens[credit.start : credit.end] += step_weight * value
        result.append(tokens)
    return result


def _sums_to_go(values: Sequence[float]) -> list[float]:
    """Of each value, the sum of it and all later ones."""
    return list(accumulate(reversed(values)))[::-1]


def _centred(rewards: Rewards) -> list[list[float]]:
    return [[reward - fmean(group) for reward in group] for group in rewards]


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _divided(values: Sequence[float], deviation: float) -> list[float]:
    return [value / deviation for value in values] if deviation > _SMALLEST_DEVIATION else [0.0] * len(values)
