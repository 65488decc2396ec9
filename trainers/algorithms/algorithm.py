"""What defines an algorithm: two hooks, its average over tokens, and its own keys.

The hooks are called by `trainers.learner.packing` (advantages, on numbers) and `trainers.algorithms.losses` (objective,
on tensors). Light to import: torch is imported for types only, since recipes are checked without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.algorithms.tokens import Tokens
    from trainers.config import LearningConfig

Average = Literal["tokens", "completions", "longest"]
Ratio = Literal["token", "completion", "none"]
Rewards = Sequence[Sequence[float]]  # of each completion, by group
Advantages = Callable[[Rewards, "LearningConfig"], list[list[float]]]
Objective = Callable[["Tokens", "LearningConfig"], "Term"]


@dataclass(frozen=True, slots=True)
class Term:
    """The loss of each token [N], and the tokens whose gradient a clip removed (bool) [N]."""

    loss: Tensor
    clipped: Tensor


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`advantages` scores completions among their siblings; `objective` is the loss of each token.

    `knobs` are the keys of a recipe that belong to the algorithm, with their defaults. Keys that are in no algorithm's
    knobs (the KL penalty, corrections, minibatches) belong to all of them. `ratio` is what the objective weighs by the
    policy's change: each token, a completion as a whole, or nothing.
    """

    name: str
    advantages: Advantages
    objective: Objective
    knobs: Mapping[str, Any] = field(default_factory=dict)
    ratio: Ratio = "token"
