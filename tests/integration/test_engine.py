"""The vLLM engine and its weight updates on a tiny model, in this process; see also `test_engine_alone.py`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from actors.config import EngineConfig
from actors.engines.protocol import Engine, EngineDead, EngineTimeout, RequestRefused, start_engine
from actors.records import Completion, Sampling
from actors.weights.object_store import publish, publish_model
from actors.weights.parity import disagreement, parity_reference
from actors.weights.version import WeightsRefused, WeightVersion
from tests.integration.engines import driver_of
from tests.tiny import ENGINE, PROMPT, VOCAB, tiny_model

pytestmark = pytest.mark.timeout(600)

SAMPLING = Sampling(max_tokens=40, seed=7)
LOAD_S = 20.0


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Iterator[Engine]:
    engine = asyncio.run(start_engine(model_dir, ENGINE))
    yield engine
    asyncio.run(engine.stop())


@pytest.fixture(scope="module")
def oracle(model_dir: Path) -> Iterator[Engine]:
    oracle = asyncio.run(start_engine(model_dir, EngineConfig(backend="torch")))
    yield oracle
    asyncio.run(oracle.stop())


async def _many(engine: Engine, count: int, sampling: Sampling = SAMPLING) -> list[Completion]:
    assert sampling.seed is not None
    seeds = [dataclasses.replace(sampling, seed=sampling.seed + i) for i in range(count)]
    return await asyncio.gather(*(engine.generate(PROMPT, s, i) for i, s in enumerate(seeds)))


async def test_a_completion_has_one_logprob_per_token_and_names_its_weights(engine: Engine) -> None:
    completion = await engine.generate(PROMPT, SAMPLING, index=3)
    assert completion.index == 3
    assert len(completion.token_ids) == len(completion.logprobs) == 40
    assert completion.finish_reason == "length"
    assert completion.weight_version == completion.first_weight_version == 0
    assert all(lp <= 0 for lp in completion.logprobs)


async def test_the_same_prompt_and_seed_give_the_same_tokens_alone_and_in_company(engine: Engine) -> None:
    alone = [await engine.generate(PROMPT, dataclasses.replace(SAMPLING, seed=7 + i), i) for i in range(3)]
    company = await _many(engine, 24)
    assert [c.token_ids for c in alone] == [c.token_ids for c in company[:3]]
    assert all(
        abs(a - b) <= 1e-5
        for c, d in zip(alone, company, strict=False)
        for a, b in zip(c.logprobs, d.logprobs, strict=True)
    )


async def test_a_stop_token_ends_a_completion_and_stays_in_it(engine: Engine) -> None:
    free = await engine.generate(PROMPT, SAMPLING)
    stop = free.token_ids[5]
    stopped = await engine.generate(PROMPT, dataclasses.replace(SAMPLING, stop_token_ids=(stop,)))
    assert stopped.finish_reason == "stop"
    assert stopped.token_ids == free.token_ids[: free.token_ids.index(stop) + 1]


async def test_a_stream_yields_the_same_tokens_with_ranked_alternatives(engine: Engine) -> None:
    whole = await engine.generate(PROMPT, SAMPLING)
    deltas = [d async for d in engine.stream(PROMPT, dataclasses.replace(SAMPLING, top_logprobs=4))]
    assert tuple(t for d in deltas for t in d.token_ids) == whole.token_ids
    assert [d.finish_reason for d in deltas][-1] == "length"
    for delta in deltas:
        for top in delta.top_logprobs:
            logprobs = [t.logprob for t in top]
            assert len(top) == 4
            assert logprobs == sorted(logprobs, reverse=True)


async def test_closing_a_stream_frees_its_slot_at_once(engine: Engine) -> None:
    stream = engine.stream(PROMPT, dataclasses.replace(SAMPLING, max_tokens=400))
    await anext(stream)
    assert engine.open_requests == 1
    await stream.aclose()
    assert engine.open_requests == 0


async def test_a_cancelled_completion_frees_its_slot(engine: Engine) -> None:
    task = asyncio.create_task(engine.generate(PROMPT, dataclasses.replace(SAMPLING, max_tokens=400)))
    await asyncio.sleep(0)
    assert engine.open_requests == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.open_requests == 0
    assert (await engine.generate(PROMPT, SAMPLING)).finish_reason == "length"


async def test_a_prompt_that_does_not_fit_is_refused_and_the_engine_goes_on(engine: Engine) -> None:
    with pytest.raises(RequestRefused):
        await engine.generate(list(range(20, 40)) * 40, SAMPLING)
    with pytest.raises(RequestRefused):
        await engine.generate((), SAMPLING)
    with pytest.raises(RequestRefused):
        await engine.generate((VOCAB + 7,), SAMPLING)
    assert (await engine.generate(PROMPT, SAMPLING)).finish_reason == "length"


async def test_the_engine_scores_and_draws_as_the_oracle_does(engine: Engine, oracle: Engine) -> None:
    completion = await engine.generate(PROMPT, SAMPLING)
    whole = (*PROMPT, *completion.token_ids)
    ours, theirs = await engine.score(whole), await oracle.score(whole)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 1e-5
    drawn = theirs[len(PROMPT) - 1 :]
    assert max(abs(a - b) for a, b in zip(completion.logprobs, drawn, strict=True)) <= 1e-5


async def test_a_new_version_is_what_the_learner_holds_tied_head_included(engine: Engine, ray_session: Path) -> None:
    for version, seed in ((101, 1), (102, 2)):
        weights = publish_model(version, tiny_model(seed, scale=2.0))
        report = await engine.load(weights, LOAD_S, LOAD_S)
        assert report.weight_version == (await engine.generate(PROMPT, SAMPLING)).weight_version == version
        assert disagreement(weights.parity, await engine.score(weights.parity.token_ids)).largest <= 1e-4


async def test_open_requests_go_on_under_the_new_version_and_carry_both(engine: Engine, ray_session: Path) -> None:
    before = (await engine.generate(PROMPT, SAMPLING)).weight_version
    weights = publish_model(200, tiny_model(5, scale=2.0))  # before they begin: it takes a while
    long = dataclasses.replace(SAMPLING, max_tokens=400)
    stream = engine.stream(PROMPT, long)
    await anext(stream)
    running = [asyncio.create_task(engine.generate(PROMPT, long, i)) for i in range(4)]
    await asyncio.sleep(0)
    asked = engine.progress
    while engine.progress < asked + 3:  # by then each has drawn a token
        await anext(stream)
    report = await engine.load(weights, LOAD_S, LOAD_S)
    versions = {(c.first_weight_version, c.weight_version) for c in await asyncio.gather(*running)}
    await stream.aclose()
    assert versions == {(before, 200)}
    again = [await engine.load(weights, LOAD_S, LOAD_S) for _ in range(2)]
    assert min(one.pause_s for one in (report, *again)) < 1.0  # what else runs here may hold up one of them


async def test_a_damaged_bucket_is_refused_and_the_old_version_keeps_serving(engine: Engine, ray_session: Path) -> None:
    held = publish_model(300, tiny_model(0))
    await engine.load(held, LOAD_S, LOAD_S)
    fresh = publish_model(301, tiny_model(3, scale=2.0))
    bytes_ = np.array(ray.get(fresh.buckets[0].ref))
    bytes_[1000] ^= 1
    damaged = dataclasses.replace(fresh.buckets[0], ref=ray.put(bytes_))
    with pytest.raises(WeightsRefused, match="bucket 0"):
        await engine.load(dataclasses.replace(fresh, buckets=(damaged,)), LOAD_S, LOAD_S)
    assert (await engine.generate(PROMPT, SAMPLING)).weight_version == 300
    assert disagreement(held.parity, await engine.score(held.parity.token_ids)).largest <= 1e-4


async def test_weights_of_another_model_are_refused_before_anything_changes(engine: Engine, ray_session: Path) -> None:
    model = tiny_model(0)
    partial = [(n, p.detach()) for n, p in model.named_parameters() if "layers.3" not in n]
    before = await engine.generate(PROMPT, SAMPLING)
    with pytest.raises(WeightsRefused, match=r"layers\.3"):
        await engine.load(publish(400, partial, parity_reference(model)), LOAD_S, LOAD_S)
    assert await engine.generate(PROMPT, SAMPLING) == before


async def test_a_load_past_its_deadline_is_an_error_that_names_the_phase(engine: Engine, ray_session: Path) -> None:
    weights: WeightVersion = publish_model(500, tiny_model(0))
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    hold = driver_of(engine).call(lambda _: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(LOAD_S))
    with pytest.raises(EngineTimeout, match="no load in"):
        await engine.load(weights, LOAD_S, 0.05)
    gate.set()
    await asyncio.wrap_future(hold)


async def test_a_process_holds_one_engine(engine: Engine, model_dir: Path) -> None:
    with pytest.raises(EngineDead, match="holds an engine already"):
        await start_engine(model_dir, ENGINE)
    assert (await engine.generate(PROMPT, SAMPLING)).finish_reason == "length"
