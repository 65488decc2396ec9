"""DAPO, decoupled clip and dynamic sampling policy optimisation (arXiv 2503.14476, eq. 8 to 13).

    A_i = R_i - mean(R)
    L   = -1/(sum_i |o_i|) sum_i sum_t min(r_it A_i, clip(r_it, 1 - clip_low, 1 + clip_high) A_i)

All tokens of the batch have the same weight, and the wider clip above lets rare tokens grow. Defaults: clip 0.2 and
0.28, as in the paper; no deviation (`advantage_scale: group` is the paper's), for the reasons given by Dr. GRPO. The
loop replaces groups without a gradient. `overlong_tokens` is the paper's soft penalty: over that many tokens before
`max_tokens` the reward falls by up to 1 (the paper: 4096 of 20480; the default 0 turns it off).
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
