"""Dr. GRPO, "GRPO done right" (arXiv 2503.20783, section 3.2): GRPO without its two biases.

    A_i = R_i - mean(R)
    L   = -1/(G * max_tokens) sum_i sum_t min(r_it A_i, clip(r_it, 1 - clip_low, 1 + clip_high) A_i)

It does not divide by the deviation, which favours very easy and very hard prompts, and its denominator is constant, so
that a token of a long wrong answer is not penalised less than one of a short answer. Defaults: clip 0.2 on both sides,
as in the paper.
"""

from __future__ import annotations

from trainers.algorithms.advantages import centred
from trainers.algorithms.algorithm import Algorithm
from trainers.algorithms.objectives import clipped_token_ratio

DR_GRPO = Algorithm(
    "dr_grpo",
    advantages=centred,
    objective=clipped_token_ratio,
    knobs={
        "clip_low": 0.2,
        "clip_high": 0.2,
        "dual_clip": None,
        "advantage_scale": "none",
        "average": "longest",
    },
)
