"""The parity check: fixed tokens whose log-probabilities the learner and every engine must agree on.

An engine with silently wrong weights (a stale packed head, a swapped tensor) still writes fluent text. Comparing a few
log-probabilities after each update shows it. This module measures; the fleet decides what a failure means.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PARITY_TOKENS: Final = 64
_PARITY_SEED: Final = 20251207


@dataclass(frozen=True, slots=True)
class ParityReference:
    """The fixed tokens, and the learner's log-probabilities of tokens 1.. of them under one weight version."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


def parity_tokens(vocab_size: int, length: int = _PARITY_TOKENS) -> tuple[int, ...]:
    """The same `length` token ids for every run and version of a vocabulary, drawn over all of it."""
    draw = random.Random(_PARITY_SEED)  # noqa: S311 - reproducible, not secret
    return tuple(draw.randrange(vocab_size) for _ in range(length))


def parity_reference(model: PreTrainedModel) -> ParityReference:
    """The tokens as `model` (any device, any mode) scores them: one forward pass, no gradients, float32 logits."""
    import torch

    token_ids = parity_tokens(model.config.vocab_size)
    ids = torch.tensor([token_ids], device=model.device)
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    model.train(training)
    logprobs = torch.log_softmax(logits, dim=-1).gather(-1, ids[0, 1:, None]).squeeze(-1)
    return ParityReference(token_ids, tuple(logprobs.tolist()))


def max_abs_diff(reference: ParityReference, logprobs: Sequence[float]) -> float:
    """The largest disagreement in nats per token; infinite if any number is not finite or a token is missing."""
    if len(logprobs) != len(reference.logprobs) or not all(map(math.isfinite, (*reference.logprobs, *logprobs))):
        return math.inf
    return max(abs(a - b) for a, b in zip(reference.logprobs, logprobs, strict=True))
