"""Whether a group teaches anything: only such groups are trained on, and the loop replaces the others."""

from __future__ import annotations

from collections.abc import Sequence

from actors.records import Rollout
from trainers.algorithms.registry import ALGORITHMS
from trainers.config import LearningConfig


def has_signal(rollouts: Sequence[Rollout], config: LearningConfig) -> bool:
    """Whether the algorithm gives any completion an advantage or, with token credit, the steps' credits differ.

    Rewards that differ are not enough: if fewer than k are wrong, the best of k draws is right whichever k are taken.
    """
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    if len(set(rewards)) > 1 and any(ALGORITHMS[config.algorithm].advantages([rewards], config)[0]):
        return True
    return config.token_credit > 0 and len({credit.credit for r in rollouts for credit in r.credits}) > 1
