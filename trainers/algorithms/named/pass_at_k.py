"""Pass@k training (arXiv 2508.10751, eq. 12 to 15): a completion's advantage is what it adds to the best of k draws.

    A_i = (mean of max over subsets of k with i  -  mean of max over all subsets of k) / std of that max

exactly, over the group's G completions, with DAPO's loss. For rewards of 0 and 1 these are the paper's numbers. A group
with fewer than k wrong completions has no gradient, which keeps variety. Defaults: pass_k 4, our choice
(the paper tries 4 to 16 of 32); clip 0.2 and 0.28. With pass_k 1 the advantages are centred rewards divided by the
population's deviation.
"""

from __future__ import annotations

from trainers.algorithms.advantages import best_of_k
from trainers.algorithms.algorithm import Algorithm
from trainers.algorithms.objectives import clipped_token_ratio

PASS_AT_K = Algorithm(
    "pass_at_k",
    advantages=best_of_k,
    objective=clipped_token_ratio,
    knobs={"pass_k": 4, "clip_low": 0.2, "clip_high": 0.28, "dual_clip": None, "average": "tokens"},
)
