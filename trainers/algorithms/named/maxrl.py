"""MaxRL, maximum likelihood reinforcement learning (arXiv 2602.02710): hard prompts have more weight.

    A_i = (R_i - mean(R)) / mean(R)
    L   = -1/(sum_i |o_i|) sum_i sum_t min(r_it A_i, clip(r_it, 1 - clip_low, 1 + clip_high) A_i)

Dividing by the pass rate makes the gradient that of log p(right), truncated at the group's size, instead of p(right).
Rewards are 0 or 1, or at least never negative. Defaults: clip 0.2 and 0.28, DAPO's; the paper's runs are on-policy.
"""

from __future__ import annotations

from trainers.algorithms.advantages import over_mean
from trainers.algorithms.algorithm import Algorithm
from trainers.algorithms.objectives import clipped_token_ratio

MAXRL = Algorithm(
    "maxrl",
    advantages=over_mean,
    objective=clipped_token_ratio,
    knobs={"clip_low": 0.2, "clip_high": 0.28, "dual_clip": None, "average": "tokens"},
)
