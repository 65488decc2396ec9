"""The torch engine: the same protocol by plain transformers forward passes, one request at a time.

The oracle that the tests compare vLLM with, and a fallback for machines without it. Each token is drawn from a full
forward pass. Its draws differ from vLLM's for the same seed; its log-probabilities do not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.config import EngineConfig
from actors.engines.protocol import EngineDead, LoadReport, RequestRefused, TokenDelta, TopLogprob
from actors.records import Completion, FinishReason, Sampling
from actors.weights.object_store import fetch
from actors.weights.version import WeightVersion, check_layout


class TorchEngine:
    """An `actors.engines.protocol.Engine` on a transformers model. Make it with `await TorchEngine.start(...)`."""

    def __init__(self, model: PreTrainedModel, version: int) -> None:
        self._model = model
        self._version = version
        self._turn = asyncio.Lock()
        self._steps = 0
        self._open = 0
        self._stopped = False

    @classmethod
    async def start(cls, model_dir: Path, config: EngineConfig, weight_version: int = 0) -> TorchEngine:
        """Load the directory's model on the configured device."""
        model = await asyncio.to_thread(
            AutoModelForCausalLM.from_pretrained, model_dir, dtype=getattr(torch, config.dtype), use_safetensors=True
        )
        cast("torch.nn.Module", model).to(config.device).eval()
        return cls(model, weight_version)

    @property
    def progress(self) -> int:
        """Forward passes so far."""
        return self._steps

    @property
    def open_requests(self) -> int:
        """Requests accepted and not yet answered."""
        return self._open

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, index: int = 0) -> Completion:
        """One whole completion; see the protocol."""
        deltas = [delta async for delta in self.stream(prompt_ids, sampling)]
        reason = deltas[-1].finish_reason
        assert reason is not None
        return Completion(
            index=index,
            token_ids=tuple(t for d in deltas for t in d.token_ids),
            logprobs=tuple(lp for d in deltas for lp in d.logprobs),
            finish_reason=reason,
            weight_version=deltas[-1].weight_version,
            first_weight_version=deltas[0].weight_version,
        )

    async def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[TokenDelta, None]:
        """The completion as it is drawn; see the protocol."""
        self._check(prompt_ids, sampling)
        draws = self._draw(list(prompt_ids), sampling)
        self._open += 1
        try:
            finished = False
            while not finished:
                async with self._turn:
                    delta = await asyncio.to_thread(next, draws)
                finished = delta.finish_reason is not None
                yield delta
        finally:
            self._open -= 1

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probabilities of tokens 1.. by one forward pass."""
        async with self._turn:
            logprobs = await asyncio.to_thread(self._logprobs, list(token_ids))
        targets = torch.tensor(token_ids[1:])
        return logprobs[:-1].gather(-1, targets[:, None]).squeeze(-1).tolist()

    async def load(self, weights: WeightVersion, fetch_timeout_s: float, load_timeout_s: float) -> LoadReport:
        """Copy a published version into the model between two forward passes; see the protocol."""
        del load_timeout_s  # a copy in memory: nothing to wait for
        began = time.monotonic()
        check_layout(weights, {name: tuple(p.shape) for name, p in self._model.named_parameters()})
        tensors = await asyncio.to_thread(fetch, weights, fetch_timeout_s)
        fetched = time.monotonic()
        async with self._turn:
            paused = time.monotonic()
            parameters = dict(self._model.named_parameters())
            with torch.no_grad():
                for name, tensor in tensors:
                    parameters[name].copy_(tensor)
            self._version = weights.version
        now = time.monotonic()
        return LoadReport(weights.version, fetched - began, now - fetched, now - paused)

    async def stop(self) -> None:
        """Refuse later requests."""
        self._stopped = True

    def _check(self, prompt_ids: Sequence[int], sampling: Sampling) -> None:
        if self._stopped:
            raise EngineDead("the engine was stopped")
        if not prompt_ids or len(prompt_ids) >= self._model.config.max_position_embeddings:
            raise RequestRefused(f"a prompt of {len(prompt_ids)} tokens does not fit this model")
        if not all(0 <= token < self._model.config.vocab_size for token in prompt_ids):
            raise RequestRefused(f"a prompt token is outside the vocabulary of {self._model.config.vocab_size}")

    def _logprobs(self, ids: list[int]) -> torch.Tensor:
        """Float32 log-probabilities [token, vocabulary] after each of `ids`, on the host."""
        with torch.no_grad():
            logits = self._model(input_ids=torch.tensor([ids], device=self._model.device), use_cache=False).logits
        self._steps += 1
        return torch.log_softmax(logits[0].float().cpu(), dim=-1)

    def _draw(self, ids: list[int], sampling: Sampling) -> Iterator[TokenDelta]:
        generator = torch.Generator()
        if sampling.seed is not None:
            generator.manual_seed(sampling.seed)
        room = self._model.config.max_position_embeddings - len(ids)
        for place in range(1, min(sampling.max_tokens, room) + 1):
            logprobs = _shaped(self._logprobs(ids)[-1], sampling)
            greedy = sampling.temperature == 0
            token = int(logprobs.argmax() if greedy else torch.multinomial(logprobs.exp(), 1, generator=generator))
            ids.append(token)
            reason: FinishReason | None = "length" if place == min(sampling.max_tokens, room) else None
            yield TokenDelta(
                token_ids=(token,),
                logprobs=(float(logprobs[token]),),
                top_logprobs=(_top(logprobs, sampling.top_logprobs),),
                finish_reason="stop" if token in sampling.stop_token_ids else reason,
                weight_version=self._version,
            )


def _shaped(logprobs: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The distribution that is drawn from: after temperature (0 leaves it) and top-p."""
    if sampling.temperature > 0:
        logprobs = torch.log_softmax(logprobs / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ordered, order = logprobs.exp().sort(descending=True)
        outside = ordered.cumsum(0) - ordered >= sampling.top_p
        logprobs = logprobs.index_fill(0, order[outside], float("-inf"))
        logprobs = torch.log_softmax(logprobs, dim=-1)
    return logprobs


def _top(logprobs: torch.Tensor, count: int) -> tuple[TopLogprob, ...]:
    values, ids = logprobs.topk(count)
    return tuple(TopLogprob(i, v) for i, v in zip(ids.tolist(), values.tolist(), strict=True))
