"""Log-probabilities and entropies of target tokens, from hidden states and the weights of the head, piece by piece.

Computed at once, the logits of all tokens and their log-softmax live until the backward pass: 20 GB for 16,384 tokens
of a vocabulary of 152,000. Here the logits of a few tokens at a time are computed in the forward pass, and once more in
the backward pass. Values and gradients equal those of the plain computation (its rounding apart).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def target_logprobs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, temperature: float, most_logits: int
) -> tuple[Tensor, Tensor]:
    """Log-probability (with gradient) and entropy (without) of each target at a temperature, [N] float32.

    `hidden` is [N, width], `weight` [vocabulary, width], `bias` [vocabulary], `targets` [N]; double stays double.
    """
    rows = max(1, most_logits // len(weight))
    made: tuple[Tensor, Tensor] = _InPieces.apply(hidden, weight, bias, targets, temperature, rows)  # pyright: ignore
    return made


class _InPieces(torch.autograd.Function):
    """One node of the graph, which keeps the hidden states and a number a token; not the logits."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, temperature: float, rows: int
    ) -> tuple[Tensor, Tensor]:
        """The log-probabilities and entropies, `rows` tokens at a time."""
        head = _Head(weight, bias, temperature, hidden.dtype)
        logprob, entropy, total = (torch.empty(len(hidden), dtype=head.dtype, device=hidden.device) for _ in range(3))
        for piece in _pieces(len(hidden), rows):
            logits = head.logits(hidden[piece])
            total[piece] = logits.logsumexp(-1)
            logits -= total[piece, None]
            logprob[piece] = logits.gather(1, targets[piece, None]).squeeze(1)
            entropy[piece] = -(logits.exp() * logits).sum(-1)
        ctx.save_for_backward(hidden, weight, bias, targets, total)
        ctx.temperature, ctx.rows = temperature, rows
        ctx.mark_non_differentiable(entropy)
        return logprob, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the hidden states, the weight and the bias."""
        hidden, weight, bias, targets, total = ctx.saved_tensors
        head = _Head(weight, bias, ctx.temperature, hidden.dtype)
        to_hidden = torch.empty_like(hidden)
        to_weight = torch.zeros_like(head.weight)
        to_bias = None if bias is None else torch.zeros(len(weight), dtype=head.dtype, device=hidden.device)
        scaled = gradients[0].to(head.dtype) / ctx.temperature
        for piece in _pieces(len(hidden), ctx.rows):
            # The gradient of a target's log-probability: 1 at its own logit, minus the probability at all of them.
            to_logits = head.logits(hidden[piece]).sub_(total[piece, None]).exp_().mul_(-scaled[piece, None])
            to_logits.scatter_add_(1, targets[piece, None], scaled[piece, None])
            to_hidden[piece] = (to_logits @ head.weight).to(hidden.dtype)
            to_weight.addmm_(to_logits.T, hidden[piece].to(head.dtype))
            if to_bias is not None:
                to_bias += to_logits.sum(0)
        own_bias = None if bias is None or to_bias is None else to_bias.to(bias.dtype)
        return to_hidden, to_weight.to(weight.dtype), own_bias, None, None, None


class _Head:
    """The head in float32, or in double for hidden states in double."""

    def __init__(self, weight: Tensor, bias: Tensor | None, temperature: float, given: torch.dtype) -> None:
        self.dtype = torch.promote_types(given, torch.float32)
        self.weight = weight.to(self.dtype)
        self._bias = None if bias is None else bias.to(self.dtype)
        self._temperature = temperature

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, vocabulary], at the temperature."""
        return torch.nn.functional.linear(hidden.to(self.dtype), self.weight, self._bias).div_(self._temperature)


def _pieces(count: int, rows: int) -> Iterator[slice]:
    return (slice(start, start + rows) for start in range(0, count, rows))
