"""The parity check: fixed tokens whose log-probabilities the learner and every engine must agree on.

An engine with silently wrong weights (a stale packed head, a swapped tensor) still writes fluent text. Comparing a few
log-probabilities after each update shows it. This module measures; the fleet decides what a failure means.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_PARITY_TOKENS: Final = 64
_PARITY_SEED: Final = 20251207


@dataclass(frozen=True, slots=True)
class Numerics:
    """What log-probabilities were computed on and in: `cpu` or `cuda`, and the name of the dtype."""

    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class ParityReference:
    """The fixed tokens, and the learner's log-probabilities of tokens 1.. of them under one weight version."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    numerics: Numerics = Numerics()


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How far two scorings of the parity tokens are apart: on average, and at most [nats per token]."""

    mean: float
    largest: float

    def within(self, other: Disagreement) -> bool:
        """Whether neither number is above the other's; never where one is not a number."""
        return self.mean <= other.mean and self.largest <= other.largest


_EXACT: Final = Disagreement(1e-4, 1e-4)
_TF32: Final = Disagreement(0.02, 0.02)
_ROUNDED: Final = Disagreement(0.05, 0.3)


def parity_tokens(config: PreTrainedConfig, most: int = _PARITY_TOKENS) -> tuple[int, ...]:
    """The same token ids for every run and version of a model, drawn over all of its vocabulary.

    They are `most`, or as many as an engine of a shorter context takes, which leaves room for a token to draw.
    """
    draw = random.Random(_PARITY_SEED)  # noqa: S311 - reproducible, not secret
    return tuple(draw.randrange(config.vocab_size) for _ in range(min(most, config.max_position_embeddings - 1)))


def parity_reference(model: PreTrainedModel) -> ParityReference:
    """The tokens as `model` (any device, any mode) scores them: one forward pass, no gradients, float32 logits."""
    import torch

    token_ids = parity_tokens(model.config)
    ids = torch.tensor([token_ids], device=model.device)
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    model.train(training)
    logprobs = torch.log_softmax(logits, dim=-1).gather(-1, ids[0, 1:, None]).squeeze(-1)
    return ParityReference(token_ids, tuple(logprobs.tolist()), numerics_of(model))


def numerics_of(model: PreTrainedModel) -> Numerics:
    """The device and the dtype that a model computes on and in."""
    return Numerics(model.device.type, str(model.dtype).removeprefix("torch."))


def disagreement(reference: ParityReference, logprobs: Sequence[float]) -> Disagreement:
    """The disagreement; infinite if any number is not finite or a token is missing."""
    if len(logprobs) != len(reference.logprobs) or not all(map(math.isfinite, (*reference.logprobs, *logprobs))):
        return Disagreement(math.inf, math.inf)
    apart = [abs(a - b) for a, b in zip(reference.logprobs, logprobs, strict=True)]
    return Disagreement(fmean(apart), max(apart))


def tolerance(one: Numerics, other: Numerics) -> Disagreement:
    """How far two scorings of the same weights may be apart, by what computed them.

    Two float32 computations on a CPU agree to about 1e-5. On CUDA, attention kernels multiply float32 in TF32, with 10
    bits. In bfloat16 single tokens differ by a tenth of a nat and more, the mean by far less; wrong weights move both
    by whole nats.
    """
    if (one.dtype, other.dtype) != ("float32", "float32"):
        return _ROUNDED
    return _EXACT if one.device == other.device == "cpu" else _TF32
