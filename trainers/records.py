"""The records that cross process borders in training, one per hop: `Batch -> StepReport`.

Plain numpy and numbers: they go through Ray's object store, and a process that reads one need not load torch, which
takes seconds. The learner makes tensors of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Segments:
    """Attention of S segments, padded to the longest: row s holds the queries `queries[s]` and their keys `keys[s]`.

    Entries are places in the stream, -1 is padding; a query attends to the keys whose position is not after its own.
    `causal` says that queries and keys are the same, so that the mask is a plain triangle.
    """

    queries: Ints
    keys: Ints
    causal: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """One forward pass: T tokens, and N predictions, each of a token from the output of an earlier one.

    Shapes: `input_ids`, `positions` [T]; `sources` (places in the stream), `targets`, `weight`, `advantage`,
    `behaviour_logprob`, `weight_version`, `completion` (numbered from 0 in the stream) [N]. `weight` is already divided
    by the global denominator, so losses of streams add up. `places` brings the attention outputs of `segments`, row by
    row, padding included, back into stream order.
    """

    input_ids: Ints
    positions: Ints
    segments: tuple[Segments, ...]
    places: Ints
    sources: Ints
    targets: Ints
    weight: Floats
    advantage: Floats
    behaviour_logprob: Floats
    weight_version: Ints
    completion: Ints

    @property
    def tokens(self) -> int:
        """Tokens computed."""
        return len(self.input_ids)

    @property
    def visible_pairs(self) -> int:
        """Query-key pairs that attention needs, for the FLOP count."""
        return int((self.positions + 1).sum())


@dataclass(frozen=True, slots=True)
class Batch:
    """What one learner step trains on: minibatches of streams; one optimiser update for each minibatch.

    `spent_share` is the share of the stage's budget spent before, which the learning rate follows.
    """

    minibatches: tuple[tuple[Stream, ...], ...]
    spent_share: float = 0.0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All streams in order."""
        return tuple(stream for minibatch in self.minibatches for stream in minibatch)

    @property
    def tokens(self) -> int:
        """Tokens computed in one pass over the batch."""
        return sum(stream.tokens for stream in self.streams)


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did, over all ranks. Means are per predicted token, and seconds are wall time.

    `loss` is averaged as the algorithm says, and over minibatches; `gradient_norm` is the largest of theirs.
    `mismatch_max` and `mismatch_mean` compare the behaviour policy's log-probabilities with the learner's own, in nats.
    `effective_share` is the effective sample size of the importance weights per token, (sum w)^2 / (n sum w^2).
    `capped_share` and `masked_share` are the shares of tokens whose weight reached a bound, or that a mask left out.
    `lag_mean` is how many versions older the tokens are than the policy that learns from them. `skipped` counts
    optimiser updates that were skipped because loss or gradient was not finite. `logprobs` are those of the targets of
    the batch's streams, in order, under the policy before the step: [predicted]; None for documents.
    """

    loss: float
    gradient_norm: float
    learning_rate: float
    kl: float
    entropy: float
    clip_fraction: float
    mismatch_max: float
    mismatch_mean: float
    effective_share: float
    capped_share: float
    masked_share: float
    lag_mean: float
    tokens: int
    predicted: int
    flops: float
    seconds: float
    skipped: int
    logprobs: Floats | None = None

    def numbers(self) -> dict[str, float]:
        """What metrics.jsonl holds of it."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "logprobs"}
