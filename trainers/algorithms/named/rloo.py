"""RLOO, REINFORCE leave-one-out (arXiv 2402.14740, eq. 8): the baseline of a completion is the mean of its siblings.

    A_i = R_i - 1/(G - 1) sum_{j != i} R_j
    L   = -1/G sum_i min(p(o_i)/p_old(o_i) A_i, clip(...) A_i)

A completion is one action: the ratio is that of all its tokens together. At the sampling policy the gradient is the
paper's, A_i times that of log p(o_i). Defaults: clip 0.2 on both sides, as TRL's RLOOConfig; no deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.algorithms.advantages import leave_one_out
from trainers.algorithms.algorithm import Algorithm, Term
from trainers.algorithms.objectives import clipped
from trainers.algorithms.tokens import completion_sum

if TYPE_CHECKING:
    from trainers.algorithms.tokens import Tokens
    from trainers.config import LearningConfig


def sequence_ratio(tokens: Tokens, config: LearningConfig) -> Term:
    """The completion's value, repeated at each of its tokens, so that their mean is the completion's term."""
    log_ratio = completion_sum(tokens.logprob - tokens.old_logprob, tokens.completion)
    return clipped(log_ratio.exp(), tokens.advantage, config)


RLOO = Algorithm(
    "rloo",
    advantages=leave_one_out,
    objective=sequence_ratio,
    knobs={"clip_low": 0.2, "clip_high": 0.2, "average": "completions"},
    ratio="completion",
)
