"""The rollout worker: a Ray actor around one engine.

It samples groups, returns each completion as it finishes, and loads new weights, which it proves by the parity check.
If it is lost, the fleet asks another worker for the same samples with the same seeds. Routing is the fleet's job.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors.config import EngineConfig
from actors.engines.protocol import Engine, LoadReport, start_engine
from actors.records import Completion, GroupRequest
from actors.weights.parity import Disagreement, disagreement
from actors.weights.version import WeightVersion
from verifier.seeds import derive

_GATHER_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class SyncReport(LoadReport):
    """An engine's weight update, with its worker, the seconds of the parity check, and the parity in nats per token."""

    worker: str
    parity_s: float
    parity_mean_abs_diff: float
    parity_max_abs_diff: float

    @property
    def parity(self) -> Disagreement:
        """The two numbers of the parity check."""
        return Disagreement(self.parity_mean_abs_diff, self.parity_max_abs_diff)


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """What a health check returns. If `progress` stands still while requests are open, the engine hangs."""

    progress: int
    open_requests: int


class RolloutWorker:
    """A Ray actor (asyncio). `start` must return before any other method is called; `open_engine` is for tests."""

    def __init__(
        self,
        name: str,
        model_dir: Path,
        config: EngineConfig,
        open_engine: Callable[[Path, EngineConfig], Awaitable[Engine]] = start_engine,
    ) -> None:
        self._name = name
        self._model_dir = model_dir
        self._config = config
        self._open_engine = open_engine
        self._engine: Engine | None = None

    async def start(self) -> int:
        """Start the engine; returns the process id. Raises EngineDead with the reason."""
        self._engine = await self._open_engine(self._model_dir, self._config)
        return os.getpid()

    async def generate(
        self, request: GroupRequest, indices: Sequence[int]
    ) -> AsyncGenerator[tuple[Completion, ...], None]:
        """Samples `indices` of a group, in the order they finish; those that finish soon after one another together.

        Each item of the stream, and the call of a judge that follows, costs the controller as much as a few completions
        do, so an item waits for more of them as long again as the group has taken. The last one waits for nothing.
        """
        began = time.monotonic()
        tasks = [asyncio.create_task(self._sample(request, index)) for index in indices]
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if waiting:
                    soon = max(_GATHER_S, time.monotonic() - began)
                    more, waiting = await asyncio.wait(waiting, timeout=soon)
                    done |= more
                yield tuple(sorted((task.result() for task in done), key=lambda c: c.index))
        finally:
            for task in tasks:
                task.cancel()

    async def load(self, weights: WeightVersion, fetch_timeout_s: float, load_timeout_s: float) -> SyncReport:
        """Load a version and measure the parity. Raises what `Engine.load` raises."""
        report = await self._ready.load(weights, fetch_timeout_s, load_timeout_s)
        began = time.monotonic()
        logprobs = await self._ready.score(weights.parity.token_ids)
        apart = disagreement(weights.parity, logprobs)
        return SyncReport(
            **dataclasses.asdict(report),
            worker=self._name,
            parity_s=time.monotonic() - began,
            parity_mean_abs_diff=apart.mean,
            parity_max_abs_diff=apart.largest,
        )

    async def health(self) -> WorkerHealth:
        """Answered by the actor's event loop, which runs while the engine steps or hangs."""
        return WorkerHealth(self._ready.progress, self._ready.open_requests)

    async def stop(self) -> None:
        """Free the engine."""
        if self._engine is not None:
            await self._engine.stop()

    @property
    def _ready(self) -> Engine:
        assert self._engine is not None, "start() comes first"
        return self._engine

    async def _sample(self, request: GroupRequest, index: int) -> Completion:
        sampling = dataclasses.replace(request.sampling, seed=derive(request.seed, index))
        return await self._ready.generate(request.prompt_ids, sampling, index)
