"""A real pool - Ray actors, vLLM engines, a tiny policy - and what happens to it when processes die."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import ray

from actors.config import EngineConfig, PoolConfig
from actors.fleet import FleetExhausted, State
from actors.policy import build, save
from actors.pool import WorkerPool
from actors.records import GroupRequest, RolloutGroup, Sampling
from actors.tokenizer import EOS, TokenizerConfig, build_tokenizer, load_tokenizer
from actors.weights import WeightsRefused, WeightVersion, publish_model
from tests.tiny import ENGINE, POLICY
from verifier.generate import generate
from verifier.problem import Problem, ProblemSpec
from verifier.render import prompt_text
from verifier.reward import Scheme

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

CONFIG = PoolConfig(
    rollout_workers=2, reward_workers=2, restart_backoff_s=0.1, health_interval_s=0.5, stall_timeout_s=15
)
SCHEME = Scheme("mix", alpha=0.2)
SETTLE_S = 120.0


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("policy")
    tokenizer = build_tokenizer(TokenizerConfig())
    save(build(POLICY, len(tokenizer), 0), tokenizer, directory)
    return directory


@pytest.fixture(scope="module")
def weights(model_dir: Path, ray_session: Path) -> WeightVersion:
    return _version(model_dir, 1, seed=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(model_dir: Path, weights: WeightVersion) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(model_dir, ENGINE, CONFIG)
    await pool.start(weights)
    yield pool
    await pool.close()


def _version(model_dir: Path, version: int, seed: int) -> WeightVersion:
    return publish_model(version, build(POLICY, len(load_tokenizer(model_dir)), seed))


@pytest.fixture(scope="module")
def asks(model_dir: Path) -> list[tuple[GroupRequest, Problem]]:
    """Six groups of four, long enough to be killed in the middle of."""
    tokenizer = load_tokenizer(model_dir)
    sampling = Sampling(max_new_tokens=200, stop_token_ids=(EOS,))
    problems = [generate(ProblemSpec(op=3), seed) for seed in range(6)]
    prompts = [tokenizer.encode(prompt_text(p.problem, p.question), add_special_tokens=False) for p in problems]
    return [
        (GroupRequest(i, 1000 + i, tuple(prompt), 4, sampling), problem)
        for i, (prompt, problem) in enumerate(zip(prompts, problems, strict=True))
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unbroken(pool: WorkerPool, asks: list[tuple[GroupRequest, Problem]]) -> list[RolloutGroup]:
    return await _all(pool, asks)


async def _all(pool: WorkerPool, asks: list[tuple[GroupRequest, Problem]]) -> list[RolloutGroup]:
    return await asyncio.gather(*(pool.rollout(request, problem, SCHEME) for request, problem in asks))


def _drawn(groups: list[RolloutGroup]) -> list[tuple[int, list[tuple[int, ...]], list[float | None]]]:
    return [(g.group_id, [r.completion.token_ids for r in g.rollouts], [r.reward for r in g.rollouts]) for g in groups]


def _pids(pool: WorkerPool, kind: str) -> list[int]:
    return [w.pid for w in pool.status().workers if w.kind == kind and w.pid is not None]


async def _busy(pool: WorkerPool, kind: str) -> None:
    await pool.until(lambda status: any(w.open for w in status.workers if w.kind == kind), SETTLE_S)


async def test_groups_come_back_whole_judged_and_in_order(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[tuple[GroupRequest, Problem]]
) -> None:
    for group, (request, problem) in zip(unbroken, asks, strict=True):
        assert group.group_id == request.group_id
        assert [r.completion.index for r in group.rollouts] == [0, 1, 2, 3]
        assert len({r.completion.token_ids for r in group.rollouts}) == 4
        assert group.problem == problem
        assert group.oldest_version == 1
        for rollout in group.rollouts:
            assert rollout.error is None
            assert rollout.reward is not None
            assert len(rollout.completion.logprobs) == len(rollout.completion.token_ids)
    assert _drawn(await _all(pool, asks)) == _drawn(unbroken)


async def test_a_new_version_reaches_every_worker_in_time_and_passes_the_canary(
    pool: WorkerPool, model_dir: Path
) -> None:
    reports = await pool.sync(_version(model_dir, 2, seed=1))
    assert {r.version for r in reports} == {2}
    assert len(reports) == 2
    assert max(r.canary_max_abs_diff for r in reports) <= 1e-4
    assert {w.version for w in pool.status().workers if w.kind == "rollout"} == {2}
    again = await pool.sync(_version(model_dir, 3, seed=0))
    # The bars are 0.2 s and 0.1 s on an idle machine; a shared one gets some air.
    assert max(r.fetch_s + r.load_s for r in again) <= 2.0
    assert max(r.pause_s for r in again) <= 1.0


async def test_a_killed_rollout_worker_costs_nothing_but_time(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[tuple[GroupRequest, Problem]]
) -> None:
    before = pool.status()
    running = asyncio.create_task(_all(pool, asks))
    await _busy(pool, "rollout")
    os.kill(_pids(pool, "rollout")[0], signal.SIGKILL)
    assert _drawn(await running) == _drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert pool.status().rollout_restarts == before.rollout_restarts + 1
    assert pool.status().resent_groups > before.resent_groups


async def test_all_rollout_workers_killed_at_once_come_back_and_finish_the_groups(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[tuple[GroupRequest, Problem]]
) -> None:
    before = pool.status().rollout_restarts
    running = asyncio.create_task(_all(pool, asks))
    await _busy(pool, "rollout")
    for pid in _pids(pool, "rollout"):
        os.kill(pid, signal.SIGKILL)
    assert _drawn(await running) == _drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert pool.status().rollout_restarts == before + 2


async def test_a_killed_reward_worker_gives_no_rollout_a_default_reward(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[tuple[GroupRequest, Problem]]
) -> None:
    before = pool.status().reward_restarts
    running = asyncio.create_task(_all(pool, asks))
    await _busy(pool, "reward")
    for pid in _pids(pool, "reward"):
        os.kill(pid, signal.SIGKILL)
    assert _drawn(await running) == _drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert pool.status().reward_restarts == before + 2
    assert pool.status().verifier_errors == 0


async def test_a_problem_the_verifier_cannot_read_is_counted_and_never_rewarded(
    pool: WorkerPool, asks: list[tuple[GroupRequest, Problem]]
) -> None:
    request, problem = asks[0]
    broken = dataclasses.replace(problem, solution="not a trace")
    group = await pool.rollout(request, broken, SCHEME)
    assert [r.reward for r in group.rollouts] == [None] * 4
    assert all("MalformedProblem" in (r.error or "") for r in group.rollouts)
    assert pool.status().verifier_errors == 4


async def test_damaged_weights_are_refused_and_the_old_version_goes_on(
    pool: WorkerPool, model_dir: Path, unbroken: list[RolloutGroup], asks: list[tuple[GroupRequest, Problem]]
) -> None:
    before = pool.status()
    fresh = _version(model_dir, 50, seed=3)
    flipped = np.array(ray.get(fresh.buckets[0].ref))
    flipped[12345] ^= 1
    bucket = dataclasses.replace(fresh.buckets[0], ref=ray.put(flipped))
    with pytest.raises(WeightsRefused, match="checksum"):
        await pool.sync(dataclasses.replace(fresh, buckets=(bucket,)))
    after = pool.status()
    assert after.refused_weights == before.refused_weights + 2
    assert after.rollout_restarts == before.rollout_restarts
    assert after.weight_version == before.weight_version == 3
    assert _drawn(await _all(pool, asks)) == _drawn(unbroken)


async def test_a_version_whose_canary_lies_never_serves(pool: WorkerPool, model_dir: Path) -> None:
    honest = _version(model_dir, 60, seed=0)
    probe = dataclasses.replace(honest.probe, logprobs=tuple(lp - 0.01 for lp in honest.probe.logprobs))
    syncing = asyncio.create_task(pool.sync(dataclasses.replace(honest, probe=probe)))
    await pool.until(lambda status: any("canary" in (w.cause or "") for w in status.workers), SETTLE_S)
    assert not any(w.state is State.SERVING for w in pool.status().workers if w.kind == "rollout")
    syncing.cancel()
    await asyncio.wait([syncing])
    await pool.sync(_version(model_dir, 61, seed=0))
    await pool.settled(SETTLE_S)


async def test_a_frozen_worker_is_found_and_replaced_within_its_deadline(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[tuple[GroupRequest, Problem]]
) -> None:
    before = pool.status().rollout_restarts
    frozen = _pids(pool, "rollout")[0]
    running = asyncio.create_task(_all(pool, asks))
    await _busy(pool, "rollout")
    os.kill(frozen, signal.SIGSTOP)
    assert _drawn(await running) == _drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert pool.status().rollout_restarts == before + 1


async def test_scaling_up_and_down_under_load_loses_and_doubles_nothing(
    pool: WorkerPool, unbroken: list[RolloutGroup], asks: list[tuple[GroupRequest, Problem]]
) -> None:
    before = pool.status()
    running = asyncio.create_task(_all(pool, asks))
    await pool.scale(rollout_workers=1, reward_workers=1)
    await pool.scale(rollout_workers=1, reward_workers=1)
    assert _drawn(await running) == _drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert len(_pids(pool, "rollout")) == len(_pids(pool, "reward")) == 1
    await pool.scale(rollout_workers=3, reward_workers=3)
    assert _drawn(await _all(pool, asks)) == _drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert len(_pids(pool, "rollout")) == len(_pids(pool, "reward")) == 3
    assert {w.version for w in pool.status().workers if w.kind == "rollout"} == {before.weight_version}
    running = asyncio.create_task(_all(pool, asks))
    await _busy(pool, "rollout")
    await pool.scale(rollout_workers=1)
    assert _drawn(await running) == _drawn(unbroken)
    await pool.settled(SETTLE_S)
    assert len(_pids(pool, "rollout")) == 1
    assert pool.status().resent_groups == before.resent_groups
    assert pool.status().rollout_restarts == before.rollout_restarts


async def test_a_crash_loop_ends_the_pool_with_the_first_cause(tmp_path: Path, model_dir: Path) -> None:
    config = PoolConfig(rollout_workers=1, max_restarts=1, restart_backoff_s=0.0)
    broken = tmp_path / "policy"
    broken.mkdir()
    load_tokenizer(model_dir).save_pretrained(broken)
    pool = WorkerPool(broken, EngineConfig(backend="torch"), config)
    began = time.monotonic()
    try:
        with pytest.raises(FleetExhausted, match=r"config\.json|does not appear|Unrecognized"):
            await pool.start(_version(model_dir, 1, seed=0))
        assert time.monotonic() - began < 100
        assert pool.status().rollout_restarts == 1
    finally:
        await pool.close()
