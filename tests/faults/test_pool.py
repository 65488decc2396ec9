"""What happens to a pool when processes die, freeze, lie or crash again and again.

Real Ray actors and real kills; the engine is the torch one, which starts in a few seconds. The same with vLLM, once, is
in tests/integration/test_pool.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.config import EngineConfig, FleetConfig
from actors.policy.tokenizer import load_tokenizer
from actors.records import RolloutGroup
from actors.workers.pool import WorkerPool
from actors.workers.states import NoWorkersLeft, State
from tests.pools import (
    GROUP_SIZE,
    SCHEME,
    SETTLE_S,
    Ask,
    all_groups,
    asks_for,
    busy,
    drawn,
    kill,
    pids,
    publish_seed,
    save_policy,
)

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

ENGINE = EngineConfig(backend="torch")
CONFIG = FleetConfig(
    rollout_workers=2, reward_workers=2, restart_backoff_s=0.1, health_interval_s=0.5, stall_timeout_s=10
)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def asks(model_dir: Path) -> list[Ask]:
    return asks_for(model_dir, 4, max_tokens=24)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(model_dir: Path, ray_session: Path) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(model_dir, ENGINE, CONFIG)
    await pool.start(publish_seed(model_dir, 1, seed=0))
    yield pool
    await pool.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unbroken(pool: WorkerPool, asks: list[Ask]) -> list[RolloutGroup]:
    return await all_groups(pool, asks)


async def test_a_killed_reward_worker_gives_no_rollout_a_default_reward(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[Ask]
) -> None:
    before = pool.status()
    running = asyncio.create_task(all_groups(pool, asks))
    await busy(pool, "reward")
    for pid in pids(pool, "reward"):
        kill(pid)
    assert drawn(await running) == drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert pool.status().reward_restarts == before.reward_restarts + 2
    assert pool.status().verifier_errors == 0


async def test_a_problem_the_verifier_cannot_read_is_counted_and_never_rewarded(
    pool: WorkerPool, asks: list[Ask]
) -> None:
    broken = dataclasses.replace(asks[0].problem, solution="not a trace")
    group = await pool.rollout(asks[0].request, broken, SCHEME)
    assert [r.reward for r in group.rollouts] == [None] * GROUP_SIZE
    assert all("MalformedProblem" in (r.error or "") for r in group.rollouts)
    assert pool.status().verifier_errors == GROUP_SIZE


async def test_all_rollout_workers_killed_at_once_come_back_and_finish_the_groups(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[Ask]
) -> None:
    before = pool.status()
    running = asyncio.create_task(all_groups(pool, asks))
    await busy(pool, "rollout")
    for pid in pids(pool, "rollout"):
        kill(pid)
    assert drawn(await running) == drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert pool.status().rollout_restarts == before.rollout_restarts + 2


async def test_a_frozen_worker_is_found_and_replaced_within_its_deadline(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[Ask]
) -> None:
    before = pool.status()
    running = asyncio.create_task(all_groups(pool, asks))
    await busy(pool, "rollout")
    os.kill(pids(pool, "rollout")[0], signal.SIGSTOP)
    assert drawn(await running) == drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert pool.status().rollout_restarts == before.rollout_restarts + 1
    assert any("hung" in (w.cause or "") for w in pool.status().workers)


async def test_scaling_up_and_down_under_load_loses_and_doubles_nothing(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[Ask]
) -> None:
    before = pool.status()
    running = asyncio.create_task(all_groups(pool, asks))
    await pool.scale(rollout_workers=1, reward_workers=1)
    await pool.scale(rollout_workers=1, reward_workers=1)
    assert drawn(await running) == drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert len(pids(pool, "rollout")) == len(pids(pool, "reward")) == 1
    await pool.scale(rollout_workers=3, reward_workers=2)
    assert drawn(await all_groups(pool, asks)) == drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert {w.version for w in pool.status().workers if w.kind == "rollout"} == {before.weight_version}
    assert len(pids(pool, "rollout")) == 3
    running = asyncio.create_task(all_groups(pool, asks))
    await busy(pool, "rollout")
    await pool.scale(rollout_workers=1)
    assert drawn(await running) == drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert len(pids(pool, "rollout")) == 1
    assert pool.status().resent_groups == before.resent_groups
    assert pool.status().rollout_restarts == before.rollout_restarts


async def test_a_version_whose_canary_lies_never_serves(pool: WorkerPool, model_dir: Path) -> None:
    honest = publish_seed(model_dir, 60, seed=0)
    probe = dataclasses.replace(honest.probe, logprobs=tuple(lp - 0.01 for lp in honest.probe.logprobs))
    syncing = asyncio.create_task(pool.sync(dataclasses.replace(honest, probe=probe)))
    await pool.until(lambda status: sum("canary" in (w.cause or "") for w in status.workers) == 1, SETTLE_S)
    assert not any(w.state is State.READY or w.version == 60 for w in pool.status().workers if w.kind == "rollout")
    syncing.cancel()
    await asyncio.wait([syncing])
    await pool.sync(publish_seed(model_dir, 61, seed=0))
    assert pool.status().weight_version == 61


async def test_a_crash_loop_ends_the_pool_with_the_first_cause(
    tmp_path: Path, model_dir: Path, ray_session: Path
) -> None:
    load_tokenizer(model_dir).save_pretrained(tmp_path)
    pool = WorkerPool(tmp_path, ENGINE, FleetConfig(max_restarts=1, restart_backoff_s=0.0))
    began = time.monotonic()
    try:
        with pytest.raises(NoWorkersLeft, match=r"config\.json|Unrecognized model"):
            await pool.start(publish_seed(model_dir, 1, seed=0))
        assert time.monotonic() - began < SETTLE_S
        assert pool.status().rollout_restarts == 1
    finally:
        await pool.close()
