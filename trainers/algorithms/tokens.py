"""The per-token inputs of a loss, and the sums and means over whole completions that some losses need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one stream, all of shape [N]; only `logprob` carries gradients.

    `old_logprob` is that of the policy in the ratio's denominator, `correction` the importance weight of tokens that
    another policy drew (1 for the others), `completion` the number of the completion that a token belongs to.
    `reference_logprob` is None without a KL penalty.
    """

    logprob: Tensor
    old_logprob: Tensor
    advantage: Tensor
    weight: Tensor
    correction: Tensor
    completion: Tensor
    reference_logprob: Tensor | None = None


def completion_sum(values: Tensor, completion: Tensor) -> Tensor:
    """For each token the sum of `values` over its completion, [N]."""
    return _sums(values, completion).index_select(0, completion)


def completion_mean(values: Tensor, completion: Tensor) -> Tensor:
    """For each token the mean of `values` over its completion, [N]."""
    return (_sums(values, completion) / _sums(values.new_ones(values.shape), completion)).index_select(0, completion)


def _sums(values: Tensor, completion: Tensor) -> Tensor:
    count = int(completion.max()) + 1
    return values.new_zeros(count).index_add(0, completion, values)
