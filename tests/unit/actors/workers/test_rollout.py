"""The rollout worker over an engine that answers when the test says so; vLLM's part is in the integration tests."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from actors.config import EngineConfig
from actors.engines.protocol import Engine, EngineDead, LoadReport, TokenDelta
from actors.records import Completion, GroupRequest, Sampling
from actors.weights.parity import ParityReference
from actors.weights.version import WeightsRefused, WeightVersion
from actors.workers.rollout import RolloutWorker
from verifier.seeds import derive

REQUEST = GroupRequest(group_id=1, seed=7, prompt_ids=(1, 2), group_size=4, sampling=Sampling(max_tokens=3))
WEIGHTS = WeightVersion(5, (), (), "", ParityReference((1, 2, 3), (-1.0, -2.0)))


class ScriptedEngine:
    """Finishes sample i when `finish[i]` is set, and raises there if the test put an error into `errors`."""

    def __init__(self) -> None:
        self.finish = [asyncio.Event() for _ in range(REQUEST.group_size)]
        self.errors: dict[int, Exception] = {}
        self.seeds: dict[int, int | None] = {}
        self.scores = [-1.0, -2.0]
        self.refuses = False
        self.scored = 0
        self.open_requests = 0
        self.progress = 0
        self.weight_version = 0

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, index: int = 0) -> Completion:
        self.seeds[index] = sampling.seed
        self.open_requests += 1
        try:
            await self.finish[index].wait()
        finally:
            self.open_requests -= 1
        if index in self.errors:
            raise self.errors[index]
        return Completion(index, (9,), (-0.5,), "stop", self.weight_version, self.weight_version)

    async def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[TokenDelta, None]:
        raise AssertionError("workers ask for whole completions")
        yield

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        self.scored += 1
        assert tuple(token_ids) == WEIGHTS.parity.token_ids
        return self.scores

    async def load(self, weights: WeightVersion, fetch_timeout_s: float, load_timeout_s: float) -> LoadReport:
        if self.refuses:
            raise WeightsRefused("bucket 0 does not match its checksum")
        self.weight_version = weights.version
        return LoadReport(weights.version, fetch_s=0.25, load_s=0.5, pause_s=0.125)

    async def stop(self) -> None:
        self.progress = -1


async def started(engine: Engine) -> RolloutWorker:
    async def open_engine(model_dir: Path, config: EngineConfig) -> Engine:
        return engine

    worker = RolloutWorker("rollout-0.1", Path("model"), EngineConfig(), open_engine)
    assert await worker.start() > 0
    return worker


async def test_samples_come_as_they_finish_each_drawn_from_its_own_seed() -> None:
    engine = ScriptedEngine()
    worker = await started(engine)
    async with aclosing(worker.generate(REQUEST, (3, 0, 2))) as stream:
        engine.finish[2].set()
        assert [c.index for c in await anext(stream)] == [2]
        engine.finish[3].set()
        engine.finish[0].set()
        assert [c.index for c in await anext(stream)] == [0, 3], "in index order, those of one moment together"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert engine.seeds == {i: derive(REQUEST.seed, i) for i in (3, 0, 2)}


async def test_leaving_early_cancels_the_samples_that_are_still_drawn() -> None:
    engine = ScriptedEngine()
    worker = await started(engine)
    async with aclosing(worker.generate(REQUEST, range(4))) as stream:
        engine.finish[1].set()
        await anext(stream)
        assert (await worker.health()).open_requests == 3
    await asyncio.sleep(0)
    assert (await worker.health()).open_requests == 0


async def test_an_engine_that_dies_ends_the_stream_with_its_error() -> None:
    engine = ScriptedEngine()
    engine.errors[1] = EngineDead("the engine failed: out of memory")
    worker = await started(engine)
    engine.finish[1].set()
    async with aclosing(worker.generate(REQUEST, (0, 1))) as stream:
        with pytest.raises(EngineDead, match="out of memory"):
            await anext(stream)
    await asyncio.sleep(0)
    assert engine.open_requests == 0


async def test_a_load_reports_the_engines_seconds_and_the_parity_it_measured() -> None:
    engine = ScriptedEngine()
    engine.scores = [-1.0, -2.5]
    worker = await started(engine)
    report = await worker.load(WEIGHTS, 1.0, 1.0)
    assert (report.worker, report.weight_version, report.parity_max_abs_diff) == ("rollout-0.1", 5, 0.5)
    assert (report.fetch_s, report.load_s, report.pause_s) == (0.25, 0.5, 0.125)
    engine.scores = [math.nan, -2.0]
    assert (await worker.load(WEIGHTS, 1.0, 1.0)).parity_max_abs_diff == math.inf


async def test_a_version_that_the_engine_refuses_is_not_scored() -> None:
    engine = ScriptedEngine()
    engine.refuses = True
    worker = await started(engine)
    with pytest.raises(WeightsRefused, match="checksum"):
        await worker.load(WEIGHTS, 1.0, 1.0)
    assert engine.scored == 0


async def test_stopping_frees_the_engine_and_does_nothing_before_the_start() -> None:
    engine = ScriptedEngine()
    worker = await started(engine)
    await worker.stop()
    assert engine.progress == -1
    await RolloutWorker("rollout-1.1", Path("model"), EngineConfig()).stop()
