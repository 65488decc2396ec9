"""GSPO, group sequence policy optimisation (arXiv 2507.18071, eq. 5 to 7): one ratio for a whole completion.

    s_i = (p(o_i) / p_old(o_i)) ^ (1/|o_i|)                     the geometric mean of its tokens' ratios
    L   = -1/G sum_i min(s_i A_i, clip(s_i, 1 - clip_low, 1 + clip_high) A_i)

with GRPO's advantages. Defaults: the group's deviation; clip 3e-4 and 4e-4, as in the paper, since means hardly change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.algorithms.advantages import centred
from trainers.algorithms.algorithm import Algorithm, Term
from trainers.algorithms.objectives import clipped
from trainers.algorithms.tokens import completion_mean

if TYPE_CHECKING:
    from trainers.algorithms.tokens import Tokens
    from trainers.config import LearningConfig


def geometric_ratio(tokens: Tokens, config: LearningConfig) -> Term:
    """The completion's value, repeated at each of its tokens, so that their mean is the completion's term."""
    log_ratio = completion_mean(tokens.logprob - tokens.old_logprob, tokens.completion)
    return clipped(log_ratio.exp(), tokens.advantage, config)


GSPO = Algorithm(
    "gspo",
    advantages=centred,
    objective=geometric_ratio,
    knobs={"clip_low": 3e-4, "clip_high": 4e-4, "advantage_scale": "group", "average": "completions"},
    ratio="completion",
)
