"""The engine protocol: token ids in; token ids, log-probabilities and a weight version out.

It says what every back end promises and which errors it may raise. An engine knows no text.

    EngineError
    |-- RequestRefused   this request cannot be served (also a ValueError); the engine is fine
    |-- EngineTimeout    a phase missed its deadline; the engine is suspect
    `-- EngineDead       the engine failed and must be replaced
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from actors.config import EngineConfig
from actors.records import Completion, FinishReason, Sampling
from actors.weights.version import WeightVersion
from verifier.errors import Failure


class EngineError(Failure):
    """Any failure of an engine; the root of the tree above."""


class RequestRefused(EngineError):
    """The request itself cannot be served, for the reason in the message."""


class EngineTimeout(EngineError):
    """A phase of a weight update or of a stop missed its deadline; the message names the phase."""


class EngineDead(EngineError):
    """The engine failed while stepping or loading; every open request fails with the first cause."""


@dataclass(frozen=True, slots=True)
class TopLogprob:
    """An alternative at one position."""

    token_id: int
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """New tokens of a stream. `top_logprobs` has one tuple per token, most likely first, empty unless asked for."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    top_logprobs: tuple[tuple[TopLogprob, ...], ...]
    finish_reason: FinishReason | None
    weight_version: int


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What an engine's weight update cost: seconds to fetch and check, to load, and without generation."""

    weight_version: int
    fetch_s: float
    load_s: float
    pause_s: float


class Sampler(Protocol):
    """What writes completions with one policy. One asyncio loop talks to it."""

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, index: int = 0) -> Completion:
        """One whole completion. Cancelling the call aborts it. Raises RequestRefused or EngineDead."""
        ...

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[TokenDelta, None]:
        """The completion as it is drawn; closing the iterator aborts it. The last delta has a finish reason."""
        ...

    async def stop(self) -> None:
        """Fail the open requests and free the engine; safe to call twice."""
        ...


class Engine(Sampler, Protocol):
    """An inference engine in this process, whose weights can change."""

    @property
    def progress(self) -> int:
        """Steps taken so far. If it stands still while requests are open, the engine hangs."""
        ...

    @property
    def open_requests(self) -> int:
        """Requests accepted and not yet answered."""
        ...

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probabilities of tokens 1.. of a sequence, each given those before it."""
        ...

    async def load(self, weights: WeightVersion, fetch_timeout_s: float, load_timeout_s: float) -> LoadReport:
        """Load a published version between two steps; open requests go on with it.

        Raises WeightsRefused (nothing changed), EngineTimeout or EngineDead.
        """
        ...


async def start_engine(model_dir: Path, config: EngineConfig, weight_version: int = 0) -> Engine:
    """Start the configured back end on a transformers directory without blocking the loop.

    `weight_version` is the version that the directory's weights get.
    """
    if config.backend == "torch":
        torch_engine = await asyncio.to_thread(importlib.import_module, "actors.engines.torch")
        return await torch_engine.TorchEngine.start(model_dir, config, weight_version)
    vllm_engine = await asyncio.to_thread(importlib.import_module, "actors.engines.vllm")  # takes 10 s
    return await vllm_engine.VllmEngine.start(model_dir, config, weight_version)
