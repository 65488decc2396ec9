"""vLLM engines that do not outlive their test: a process holds one at a time."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from actors.engines.protocol import EngineDead, start_engine
from actors.records import Sampling
from actors.weights.object_store import publish_model
from actors.weights.parity import disagreement
from tests.integration.engines import driver_of
from tests.tiny import ENGINE, PROMPT, tiny_model

pytestmark = pytest.mark.timeout(600)

SAMPLING = Sampling(max_tokens=40, seed=7)
LOAD_S = 20.0


async def test_without_repacking_the_tied_head_parity_sees_whole_nats(model_dir: Path, ray_session: Path) -> None:
    """The vLLM 0.32 bug that `repack_tied_heads` mends; this fails once vLLM mends it itself."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    engine = await start_engine(model_dir, ENGINE)
    heads = driver_of(engine).call(
        lambda e: e.apply_model(lambda m: [x for x in m.modules() if isinstance(x, ParallelLMHead)])
    )
    (head,) = (await asyncio.wrap_future(heads))[0]
    packed = head.cpu_linear
    weights = publish_model(1, tiny_model(1, scale=2.0))
    await engine.load(weights, LOAD_S, LOAD_S)
    mended = disagreement(weights.parity, await engine.score(weights.parity.token_ids)).largest
    head.cpu_linear = packed  # what the stock reload leaves behind
    stock = disagreement(weights.parity, await engine.score(weights.parity.token_ids)).largest
    await engine.stop()
    assert mended <= 1e-4
    assert stock > 0.5


async def test_an_engine_that_fails_tells_every_open_request_the_first_cause(model_dir: Path) -> None:
    engine = await start_engine(model_dir, ENGINE)
    running = asyncio.create_task(engine.generate(PROMPT, dataclasses.replace(SAMPLING, max_tokens=400)))
    await asyncio.sleep(0)

    def burn(_: object) -> None:
        raise MemoryError("burnt")

    with pytest.raises(EngineDead, match="burnt"):
        await asyncio.wrap_future(driver_of(engine).call(burn))
    with pytest.raises(EngineDead, match="burnt"):
        await running
    with pytest.raises(EngineDead, match="burnt"):
        await engine.generate(PROMPT, SAMPLING)
    await engine.stop()


async def test_an_engine_that_cannot_start_says_why(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineDead, match="did not start"):
        await start_engine(tmp_path / "nowhere", ENGINE)
    engine = await start_engine(model_dir, ENGINE)  # the place is free again
    assert (await engine.generate(PROMPT, SAMPLING)).finish_reason == "length"
    await engine.stop()
