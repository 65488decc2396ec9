"""The device memory of one rank of the learner, by arithmetic. Plain numbers, without torch.

What autograd keeps a token is counted from the operations of a decoder in transformers
(tests/unit/trainers/learner/test_memory.py compares it with what torch keeps). The rest of a run on a GPU, the context
and the fragments between allocations, is an estimate that no GPU has confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from actors.policy.size import ModelSize
from trainers.config import OptimizerConfig

MOST_LOGITS: Final = 2**25
"""So many logits, 128 MiB of float32, are computed at once; more in pieces of that size."""
_LOGIT_COPIES: Final = 4  # the logits, their log-softmax, its exponential, and their gradient
_RUNTIME: Final = int(1.5 * 1024**3)  # the CUDA context, NCCL, the kernels' work space
_FRAGMENTS: Final = 0.1  # of what comes and goes within a step


@dataclass(frozen=True, slots=True)
class LearnerMemory:
    """What one rank needs on its card [bytes]."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    activations: int
    logits: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        standing = self.weights + self.gradients + self.optimizer + self.reference
        return standing + self.activations + self.logits + self.overhead


def learner_memory(size: ModelSize, optimizer: OptimizerConfig, tokens: int, ranks: int, kl: bool) -> LearnerMemory:
    """The memory of a rank out of `ranks` that computes `tokens` in one forward pass."""
    number = 2 if optimizer.precision == "bfloat16" else 4
    splitting = ranks if optimizer.zero_stage else 1
    gathered = size.parameters // (ranks if optimizer.zero_stage == 3 else 1)
    master = 4 * size.parameters // splitting if optimizer.zero_stage else 0
    activations = tokens * kept_per_token(size, number)
    logits = 4 * min(tokens * size.vocab, MOST_LOGITS) * _LOGIT_COPIES + 2 * 4 * size.vocab * size.hidden
    return LearnerMemory(
        weights=gathered * number,
        gradients=size.parameters * number + 4 * size.parameters // splitting,
        optimizer=master + 8 * size.parameters // splitting,
        reference=size.parameters * number if kl else 0,
        activations=activations,
        logits=logits,
        overhead=_RUNTIME + int(_FRAGMENTS * (activations + logits)),
    )


def kept_per_token(size: ModelSize, number: int) -> int:
    """What autograd keeps of one token until the backward pass [bytes], with numbers of so many bytes."""
    norms = 2 * size.hidden * (8 + number if number < 4 else 8)  # computed in float32, twice, and given back
    heads = 2 * size.head_width * (size.heads + size.kv_heads)  # queries, keys, values and the output
    inputs = 3 * size.hidden  # of the matrices of attention and of the feed-forward layer
    feed_forward = 4 * size.ffn  # gate, its activation, up, and their product
    return size.layers * (norms + number * (heads + inputs + feed_forward))
