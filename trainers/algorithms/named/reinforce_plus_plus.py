"""REINFORCE++ with a baseline (arXiv 2501.03262): the group's mean is subtracted, then the whole batch is scaled.

    A_i = (R_i - mean(R)) / std over the batch
    L   = -1/(sum_i |o_i|) sum_i sum_t min(r_it A_i, clip(r_it, 1 - clip_low, 1 + clip_high) A_i)

One scale for all groups keeps easy and hard prompts in proportion. Defaults: clip 0.2 on both sides. The paper takes
the k2 estimator where it adds a KL term to the loss: `kl_estimator: k2`.
"""

from __future__ import annotations

from trainers.algorithms.advantages import centred
from trainers.algorithms.algorithm import Algorithm
from trainers.algorithms.objectives import clipped_token_ratio

REINFORCE_PLUS_PLUS = Algorithm(
    "reinforce_plus_plus",
    advantages=centred,
    objective=clipped_token_ratio,
    knobs={
        "clip_low": 0.2,
        "clip_high": 0.2,
        "dual_clip": None,
        "advantage_scale": "batch",
        "average": "tokens",
    },
)
