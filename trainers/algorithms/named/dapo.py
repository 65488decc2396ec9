"""DAPO, decoupled clip and dynamic sampling policy optimisation (arXiv 2503.14476, eq. 8 to 13).

    A_i = R_i - mean(R)
    L   = -1/(sum_i |o_i|) sum_i sum_t min(r_it A_i, clip(r_it, 1 - clip_low, 1 + clip_high) A_i)

Every token of the batch counts the same, and a clip that is wider above leaves rare tokens room to grow. Defaults: clip
0.2 and 0.28, as in the paper; no deviation (`advantage_scale: group` is the paper's), for Dr. GRPO's reasons. Groups
without a gradient are replaced by the loop. `overlong_tokens` is the paper's soft punishment: over the last so many
tokens before `max_tokens` the reward falls by up to 1 (the paper: 4096 of 20480; 0, the default, is none).
"""

from __future__ import annotations

from trainers.algorithms.advantages import centred
from trainers.algorithms.algorithm import Algorithm
from trainers.algorithms.objectives import clipped_token_ratio

DAPO = Algorithm(
    "dapo",
    advantages=centred,
    objective=clipped_token_ratio,
    knobs={
        "clip_low": 0.2,
        "clip_high": 0.28,
        "dual_clip": None,
        "advantage_scale": "none",
        "average": "tokens",
        "overlong_tokens": 0,
    },
)
