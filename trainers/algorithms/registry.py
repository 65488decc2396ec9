"""The algorithms by the name that a recipe gives. A new one is a module in `named` and a line here."""

from __future__ import annotations

from typing import Final

from trainers.algorithms.algorithm import Algorithm
from trainers.algorithms.named.cispo import CISPO
from trainers.algorithms.named.dapo import DAPO
from trainers.algorithms.named.dr_grpo import DR_GRPO
from trainers.algorithms.named.grpo import GRPO
from trainers.algorithms.named.gspo import GSPO
from trainers.algorithms.named.maxrl import MAXRL
from trainers.algorithms.named.pass_at_k import PASS_AT_K
from trainers.algorithms.named.reinforce import REINFORCE
from trainers.algorithms.named.reinforce_plus_plus import REINFORCE_PLUS_PLUS
from trainers.algorithms.named.rloo import RLOO

ALGORITHMS: Final[dict[str, Algorithm]] = {
    algorithm.name: algorithm
    for algorithm in (GRPO, DR_GRPO, DAPO, GSPO, CISPO, RLOO, REINFORCE, REINFORCE_PLUS_PLUS, MAXRL, PASS_AT_K)
}
