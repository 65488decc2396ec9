"""The learner: one rank of a DeepSpeed engine, with four methods: step, publish, save, load.

It knows no algorithm: it gets packed tokens with advantage, loss weight, behaviour log-probability and version, and
applies the loss it was made with. Pre-training, mid-training and RL use the same class. It publishes no checkpoints
(`actors.policy.checkpoint` does), and knows neither rollouts nor how it was started.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from actors.policy.model import in_dtype, load, save
from actors.weights.object_store import publish
from actors.weights.parity import ParityReference, numerics_of, parity_tokens
from actors.weights.version import WeightVersion
from trainers.algorithms.corrections import Correction, correction, no_correction
from trainers.algorithms.losses import cross_entropy, policy_loss
from trainers.algorithms.tokens import Tokens
from trainers.config import LearnerConfig, LearningConfig
from trainers.evaluation.ledger import LearningCost
from trainers.learner.optimizer import GuardedAdamW, decay_groups, deepspeed_config
from trainers.learner.optimizer_state import OptimizerState, load_optimizer, parts_of, save_optimizer
from trainers.learner.packed_policy import PackedPolicy, proved
from trainers.learner.packing import Document, pack_documents
from trainers.learner.process_group import deepspeed
from trainers.learner.ranks import on_all, on_first
from trainers.records import Batch, Floats, StepReport, Stream

T = TypeVar("T")


class Learner:
    """One rank. Needs an initialised process group (`trainers.learner_group.rank` or `form_group_of_one` makes one).

    It changes `policy`. `reference` is only read, and is needed only with a KL penalty.
    """

    def __init__(
        self,
        policy: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        config: LearnerConfig,
        reference: PreTrainedModel | None = None,
    ) -> None:
        if config.kl and reference is None:
            raise ValueError("a KL penalty needs the reference policy")
        self.config = config
        self.tokenizer = tokenizer
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.steps = 0
        self.weight_version = 0
        self._cost = LearningCost.of(policy.config, config.kl > 0)
        self.optimizer = GuardedAdamW(
            decay_groups(policy, config.optimizer.weight_decay),
            lr=0.0,
            betas=config.optimizer.betas,
            fused=True,
        )
        if config.optimizer.zero_stage == 0:
            self.optimizer.clip_to = config.optimizer.gradient_norm
        module = proved(policy)
        made = deepspeed.initialize(model=module, optimizer=self.optimizer, config=deepspeed_config(config.optimizer))
        self.engine: Any = made[0]
        self.device: torch.device = self.engine.device
        if self.device.type == "cuda" and config.optimizer.precision == "bfloat16":
            # The float32 head multiplies bfloat16 numbers, which TF32 holds exactly, eight times as fast.
            torch.set_float32_matmul_precision("high")
        # In the policy's dtype: its kernels need that, and at the start of a stage the two then agree to the bit.
        self.reference = None
        if reference is not None:
            self.reference = PackedPolicy(in_dtype(reference, self.policy.dtype)).to(self.device).eval()

    def step(self, batch: Batch) -> StepReport:
        """One step: an optimiser update for each minibatch. Every rank gets the same batch."""
        started = time.monotonic()
        skipped_before = self._skipped
        rate = self.config.optimizer.rate_at(self.steps, self.config.total_steps, batch.spent_share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        olds = self._old_logprobs(batch) if len(batch.minibatches) > 1 else None
        sums = _Sums()
        for number, minibatch in enumerate(batch.minibatches):
            self._update(minibatch, olds[number] if olds else None, sums)
        self.steps += 1
        return self._report(batch, sums, rate, self._skipped - skipped_before, started)

    def publish(self, version: int) -> WeightVersion | None:
        """Put the weights into the object store as `version` (rank 0; the others return None).

        From then on tokens drawn by older versions count as drawn by another policy.
        """
        self.weight_version = version
        parity = self._parity()
        with self.gathered():
            return on_all(lambda: publish(version, self._tensors(), parity) if self.rank == 0 else None)

    def gathered(self) -> AbstractContextManager[Any]:
        """Inside the block rank 0 can read all parameters, and no rank may run the model. Slow under ZeRO-3 only."""
        return deepspeed.zero.GatheredParameters(
            list(self.policy.parameters()), enabled=self.config.optimizer.zero_stage == 3
        )

    def _parity(self) -> ParityReference:
        """The learner's scores of the parity tokens. All ranks take part, since under ZeRO-3 each holds a part."""
        tokens = parity_tokens(self.policy.config)
        (stream,) = pack_documents([Document(tokens, 1)], len(tokens)).streams
        self.engine.eval()
        with torch.no_grad():
            logprobs, _ = self.engine(stream)
        return ParityReference(tokens, tuple(logprobs.tolist()), numerics_of(self.policy))

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, parameter.detach()) for name, parameter in self.policy.named_parameters())

    @property
    def policy(self) -> PreTrainedModel:
        """The model under training."""
        return self.engine.module.policy

    def save(self, directory: Path) -> None:
        """Write the transformers files (rank 0) and `resume/` (every rank its own part of the optimiser).

        Raises OSError on every rank if a file cannot be written.
        """
        with self.gathered():
            on_first(lambda: _on_disk(lambda: save(self.policy, self.tokenizer, directory)))
        state = self._optimizer_state()
        if self.rank and self.config.optimizer.zero_stage == 0:  # every rank holds all of it
            state = replace(state, parts=())
        on_all(lambda: _on_disk(lambda: save_optimizer(directory, state, self.steps)))

    def load(self, directory: Path) -> None:
        """Continue exactly from what `save` wrote, with any number of ranks and any ZeRO stage.

        Raises ResumeError, on every rank, if the directory holds no optimiser or another model's.
        """
        self._load_weights(on_all(lambda: load(directory).state_dict()))
        self.steps = on_all(lambda: load_optimizer(directory, self._optimizer_state()))

    def _optimizer_state(self) -> OptimizerState:
        parts = parts_of(self.engine, self.policy.named_parameters(), self.rank, self.config.optimizer.zero_stage)
        return OptimizerState(self.optimizer, parts, self.rank)

    def _load_weights(self, tensors: dict[str, Tensor]) -> None:
        for name, parameter in self.policy.named_parameters():
            with (
                deepspeed.zero.GatheredParameters(
                    [parameter], modifier_rank=0, enabled=self.config.optimizer.zero_stage == 3
                ),
                torch.no_grad(),
            ):
                parameter.copy_(tensors[name])

    @property
    def _skipped(self) -> int:
        """Updates skipped so far: counted by DeepSpeed under ZeRO in float32, by the optimiser otherwise."""
        return self.engine.skipped_steps + self.optimizer.skipped

    def _old_logprobs(self, batch: Batch) -> list[list[Tensor]]:
        self.engine.eval()
        with torch.no_grad():
            olds = [
                [self.engine(stream, self.config.temperature)[0] for stream in self._share(streams)]
                for streams in batch.minibatches
            ]
        return olds

    def _share(self, streams: Sequence[Stream]) -> list[Stream]:
        """This rank's streams; a rank that is one short gets an idle stream, since all ranks must take part."""
        rounds = -(-len(streams) // self.world_size)
        own = self._own(streams)
        return own + [_IDLE] * (rounds - len(own))

    def _own(self, streams: Sequence[T]) -> list[T]:
        return list(streams[self.rank :: self.world_size])

    def _update(self, streams: Sequence[Stream], olds: Sequence[Tensor] | None, sums: _Sums) -> None:
        self.engine.train()
        for number, stream in enumerate(self._share(streams)):
            loss = self._loss(stream, olds[number] if olds else None, sums)
            self.engine.backward(loss * self.world_size)  # DeepSpeed averages gradients over ranks; ours are sums
        self.engine.step()
        norm = self.engine.get_global_grad_norm()
        sums.norms.append(float(self.optimizer.norm if norm is None else norm))

    def _loss(self, stream: Stream, old: Tensor | None, sums: _Sums) -> Tensor:
        logprob, entropy = self.engine(stream, self.config.temperature)
        weight = _tensor(stream.weight, self.device)
        if self.config.learning is None:
            loss = cross_entropy(logprob, weight)
            sums.add(stream, loss=loss, entropy=entropy.sum())
            return loss
        return self._policy_loss(self.config.learning, stream, logprob, old, weight, entropy, sums)

    def _policy_loss(
        self,
        learning: LearningConfig,
        stream: Stream,
        logprob: Tensor,
        old: Tensor | None,
        weight: Tensor,
        entropy: Tensor,
        sums: _Sums,
    ) -> Tensor:
        own = logprob.detach() if old is None else old
        behaviour = _tensor(stream.behaviour_logprob, self.device)
        lag = self.weight_version - _tensor(stream.weight_version, self.device)
        corrected = self._correction(learning, stream, own - behaviour, lag)
        tokens = Tokens(
            logprob=logprob,
            old_logprob=behaviour if learning.correction.old_policy == "bypass" else own,
            advantage=_tensor(stream.advantage, self.device),
            weight=weight,
            correction=corrected.factor,
            completion=_tensor(stream.completion, self.device),
            reference_logprob=self._reference_logprob(stream),
        )
        losses = policy_loss(tokens, learning)
        mismatch = (own - behaviour).abs()
        sums.add(
            stream,
            loss=losses.loss,
            kl=losses.kl,
            clipped=losses.clipped,
            entropy=entropy.sum(),
            mismatch=mismatch.sum(),
            lag=lag.sum(),
            weights=corrected.weight.sum(),
            squares=corrected.weight.square().sum(),
            capped=corrected.capped.sum(),
            masked=corrected.masked.sum(),
        )
        if stream is not _IDLE:
            sums.worst.append(mismatch.max())
            sums.own.append(own)
        return losses.loss

    def _correction(self, learning: LearningConfig, stream: Stream, log_ratio: Tensor, lag: Tensor) -> Correction:
        """The correction: 1 for tokens of the learner's own version if engine and learner compute alike."""
        differs = torch.ones_like(lag, dtype=torch.bool) if self.config.engine_differs else lag > 0
        if learning.correction.weights == learning.correction.mask == "none":
            return no_correction(log_ratio)
        return correction(log_ratio, _tensor(stream.completion, self.device), differs, learning.correction)

    def _reference_logprob(self, stream: Stream) -> Tensor | None:
        if not self.config.kl or self.reference is None:
            return None
        with torch.no_grad():
            return self.reference(stream, self.config.temperature)[0]

    def _report(self, batch: Batch, sums: _Sums, rate: float, skipped: int, started: float) -> StepReport:
        totals = sums.over_ranks(self.device)
        predicted = max(1, int(totals["predicted"]))
        squares = totals["squares"]
        return StepReport(
            loss=totals["loss"] / len(batch.minibatches),
            gradient_norm=float(np.max(sums.norms)),
            learning_rate=rate,
            kl=totals["kl"] / predicted,
            entropy=totals["entropy"] / predicted,
            clip_fraction=totals["clipped"] / predicted,
            mismatch_max=totals["mismatch_max"],
            mismatch_mean=totals["mismatch"] / predicted,
            effective_share=totals["weights"] ** 2 / (predicted * squares) if squares else 1.0,
            capped_share=totals["capped"] / predicted,
            masked_share=totals["masked"] / predicted,
            lag_mean=totals["lag"] / predicted,
            tokens=batch.tokens,
            predicted=predicted,
            flops=self._cost.flops(batch),
            seconds=time.monotonic() - started,
            skipped=skipped,
            logprobs=self._logprobs(batch, sums.own) if self.config.learning else None,
        )

    def _logprobs(self, batch: Batch, own: Sequence[Tensor]) -> Floats:
        """The log-probabilities of the batch's targets: each rank puts its streams in their places, 0 elsewhere."""
        ends = list(accumulate(len(stream.targets) for stream in batch.streams))
        numbers = iter(range(len(ends)))
        streams = [
            number for minibatch in batch.minibatches for number in self._own([next(numbers) for _ in minibatch])
        ]
        whole = torch.zeros(ends[-1], device=self.device)
        for number, values in zip(streams, own, strict=True):
            whole[ends[number] - len(values) : ends[number]] = values
        if self.world_size > 1:
            dist.reduce(whole, dst=0)
        return whole.cpu().numpy()


_SUMS: Final = (
    "loss",
    "kl",
    "clipped",
    "entropy",
    "mismatch",
    "lag",
    "weights",
    "squares",
    "capped",
    "masked",
    "predicted",
)


class _Sums:
    """Sums over the tokens of the streams of this rank."""

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.parts: list[Tensor] = []
        self.worst: list[Tensor] = []
        self.own: list[Tensor] = []

    def add(self, stream: Stream, **sums: Tensor) -> None:
        """Add a stream's sums, named as in `_SUMS`; those that are not given are 0."""
        if stream is _IDLE:
            return
        count = torch.tensor(float(len(stream.targets)), device=sums["loss"].device)
        named = {"predicted": count, **sums}
        zero = torch.zeros_like(count)
        self.parts.append(torch.stack([named.get(name, zero).detach().float() for name in _SUMS]))

    def over_ranks(self, device: torch.device) -> dict[str, float]:
        sums = torch.stack(self.parts).double().sum(0) if self.parts else torch.zeros(len(_SUMS), dtype=torch.double)
        worst = torch.stack(self.worst).max() if self.worst else torch.tensor(0.0)
        sums, worst = sums.to(device), worst.to(device)
        if dist.get_world_size() > 1:
            dist.all_reduce(sums)
            dist.all_reduce(worst, op=dist.ReduceOp.MAX)
        return dict(zip(_SUMS, sums.tolist(), strict=True)) | {"mismatch_max": worst.item()}


def _on_disk(write: Callable[[], None]) -> None:
    """Write the model. Raises OSError for every error of the disk."""
    try:
        write()
    except SafetensorError as error:  # safetensors' own name for it
        raise OSError(str(error)) from error


def _tensor(array: Any, device: torch.device) -> Tensor:
    return torch.tensor(array, device=device)


def _idle_stream() -> Stream:
    """The shortest possible stream, with weight 0 in the loss."""
    (stream,) = pack_documents([Document((0, 0), 1)], 2).streams
    return replace(stream, weight=stream.weight * 0)


_IDLE: Final = _idle_stream()
