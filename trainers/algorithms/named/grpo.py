"""GRPO, group relative policy optimisation (DeepSeekMath, arXiv 2402.03300, eq. 3).

    A_i = (R_i - mean(R)) / std(R)                              over the G completions of a prompt
    L   = -1/G sum_i 1/|o_i| sum_t min(r_it A_i, clip(r_it, 1 - clip_low, 1 + clip_high) A_i)

with r_it the ratio of the token's probability to that before the step. Defaults: clip 0.2 on both sides, the group's
(sample) deviation, mean over each completion first, as in the paper. The paper's KL penalty is the key `kl` (0 here).
verl's script of the name, which arXiv 2512.07783 used, averages over tokens instead: `average: tokens`.
"""

from __future__ import annotations

from trainers.algorithms.advantages import centred
from trainers.algorithms.algorithm import Algorithm
from trainers.algorithms.objectives import clipped_token_ratio

GRPO = Algorithm(
    "grpo",
    advantages=centred,
    objective=clipped_token_ratio,
    knobs={
        "clip_low": 0.2,
        "clip_high": 0.2,
        "dual_clip": None,
        "advantage_scale": "group",
        "average": "completions",
    },
)
