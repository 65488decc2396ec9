"""REINFORCE (Williams 1992) with the mean of the group as its baseline.

    L = -1/(sum_i |o_i|) sum_i sum_t (R_i - mean(R)) log p_it

It has no ratio and no clip, so it is meant for one update per step (`minibatches: 1`).
"""

from __future__ import annotations

from trainers.algorithms.advantages import centred
from trainers.algorithms.algorithm import Algorithm
from trainers.algorithms.objectives import policy_gradient

REINFORCE = Algorithm(
    "reinforce",
    advantages=centred,
    objective=policy_gradient,
    knobs={"advantage_scale": "none", "average": "tokens"},
    ratio="none",
)
