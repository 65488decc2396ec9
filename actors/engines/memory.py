"""The device memory of an engine, by arithmetic: weights, cache, and what vLLM needs besides.

vLLM checks at its start that a share of the whole card is free, 92% unless it is told otherwise, whatever size its
cache is given. An engine that shares its card must therefore ask for what it needs and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from actors.config import EngineConfig
from actors.policy.size import ModelSize

GIB: Final = 1024**3
NUMBER_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
PREFILL_TOKENS: Final = 16_384  # of one step on a GPU: prompts are prefilled in parts beyond it
# The CUDA context, the kernels' work space and the recorded graphs. An estimate: no GPU has confirmed it.
_RUNTIME: Final = 2 * GIB
_LOGIT_COPIES: Final = 4  # sampling holds float32 logits, their log-softmax, the sorted ones and the noise


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """What an engine needs on a card [bytes]."""

    weights: int
    cache: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.overhead


def engine_memory(size: ModelSize, config: EngineConfig) -> EngineMemory:
    """The memory of an engine on a GPU, on each of its cards, for a model of that size."""
    number = NUMBER_BYTES[config.dtype]
    head = size.vocab * size.hidden * 4 if number < 4 else 0  # a copy of the head in float32
    widest = max(size.ffn * 3, size.hidden * 8)
    prefill = PREFILL_TOKENS * widest * number
    logits = config.max_open_requests * size.vocab * 4 * _LOGIT_COPIES
    return EngineMemory(
        weights=(size.parameters * number + head) // config.tensor_parallel,
        cache=config.kv_cache_mib * 1024**2,
        overhead=_RUNTIME + prefill + logits,
    )


def memory_share(needed: int, card: int) -> float:
    """The share of a card's memory that vLLM is told to take: what it needs, rounded up to a thousandth."""
    return min(1.0, -(-needed * 1000 // card) / 1000)
