"""The algorithms by the name that a recipe gives. A new one is a module like its siblings and a line here."""

from __future__ import annotations

from typing import Final

from trainers.algorithms.algorithm import Algorithm
from trainers.algorithms.cispo import CISPO
from trainers.algorithms.dapo import DAPO
from trainers.algorithms.dr_grpo import DR_GRPO
from trainers.algorithms.grpo import GRPO
from trainers.algorithms.gspo import GSPO
from trainers.algorithms.maxrl import MAXRL
from trainers.algorithms.pass_at_k import PASS_AT_K
from trainers.algorithms.reinforce import REINFORCE
from trainers.algorithms.reinforce_plus_plus import REINFORCE_PLUS_PLUS
from trainers.algorithms.rloo import RLOO

ALGORITHMS: Final[dict[str, Algorithm]] = {
    algorithm.name: algorithm
    for algorithm in (GRPO, DR_GRPO, DAPO, GSPO, CISPO, RLOO, REINFORCE, REINFORCE_PLUS_PLUS, MAXRL, PASS_AT_K)
}
