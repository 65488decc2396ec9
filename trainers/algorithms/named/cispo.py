"""CISPO, clipped importance sampling policy optimisation (MiniMax-M1, arXiv 2506.13585, eq. 4 and 5).

    L = -1/(sum_i |o_i|) sum_i sum_t min(r_it, 1 + clip_high) A_i log p_it       the weight held constant

The ratio is a capped weight of the token, so no token loses its gradient. Defaults: clip_high 4, a cap of 5, as in
ScaleRL (arXiv 2510.13786) and TRL; MiniMax gives no number. The paper sets no lower bound, and there is none here.
Advantages are GRPO's, with the group's deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.algorithms.advantages import centred
from trainers.algorithms.algorithm import Algorithm, Term

if TYPE_CHECKING:
    from trainers.algorithms.tokens import Tokens
    from trainers.config import LearningConfig


def capped_weight(tokens: Tokens, config: LearningConfig) -> Term:
    """The token's log-probability, weighted by its advantage and its capped ratio."""
    assert config.clip_high is not None
    ratio = (tokens.logprob - tokens.old_logprob).detach().exp()
    capped = ratio.clamp(max=1 + config.clip_high)
    return Term(-capped * tokens.advantage * tokens.logprob, ratio > 1 + config.clip_high)


CISPO = Algorithm(
    "cispo",
    advantages=centred,
    objective=capped_weight,
    knobs={"clip_high": 4.0, "advantage_scale": "group", "average": "tokens"},
)
