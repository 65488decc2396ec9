"""What happens to a fleet when processes die, freeze, lie or crash again and again.

Real Ray actors and real kills; the engine is the torch one, which starts in a few seconds. The same with vLLM, once, is
in tests/integration/test_fleet.py.
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
from actors.workers.drivers import ray_fleet
from actors.workers.fleet import Fleet
from actors.workers.states import NoWorkersLeft, State
from tests.fleets import (
    GROUP_SIZE,
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
    serving,
    until,
)
from tests.misbehaving import FAULTS, Misbehaving
from tests.tasks import ITEM
from verifier.graphs.family import problem_of

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

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
async def fleet(model_dir: Path, ray_session: Path) -> AsyncIterator[Fleet]:
    async with serving(model_dir, ENGINE, CONFIG) as fleet:
        yield fleet


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unbroken(fleet: Fleet, asks: list[Ask]) -> list[RolloutGroup]:
    return await all_groups(fleet, asks)


async def test_a_killed_reward_worker_gives_no_rollout_a_default_reward(
    fleet: Fleet, unbroken: list[RolloutGroup], asks: list[Ask]
) -> None:
    before = fleet.status()
    running = asyncio.create_task(all_groups(fleet, asks))
    await busy(fleet, "reward")
    for pid in pids(fleet, "reward"):
        kill(pid)
    assert drawn(await running) == drawn(unbroken)
    await fleet.settled(SETTLE_S)
    assert fleet.status().reward_restarts == before.reward_restarts + 2
    assert fleet.status().verifier_errors == 0


async def test_a_problem_the_verifier_cannot_read_is_counted_and_never_rewarded(fleet: Fleet, asks: list[Ask]) -> None:
    problem = dataclasses.replace(problem_of(asks[0].by.item), solution="not a trace")
    broken = dataclasses.replace(asks[0].by, item=dataclasses.replace(asks[0].by.item, payload=problem))
    group = await fleet.rollout(asks[0].request, broken)
    assert [r.reward for r in group.rollouts] == [None] * GROUP_SIZE
    assert all("MalformedProblem" in (r.error or "") for r in group.rollouts)
    assert fleet.status().verifier_errors == GROUP_SIZE


async def test_a_judge_that_hangs_raises_or_lies_costs_its_own_completions_and_the_run_goes_on(
    model_dir: Path, ray_session: Path, asks: list[Ask]
) -> None:
    config = FleetConfig(judge_timeout_s=10.0, max_restarts=0, restart_backoff_s=0.0)
    fleet = ray_fleet(model_dir, ENGINE, config, {})
    try:
        fleet.start()
        await fleet.sync(publish_seed(model_dir, 1, seed=0))
        await fleet.settled(SETTLE_S)
        (before,) = pids(fleet, "reward")
        one = dataclasses.replace(asks[0].request, group_size=1)
        for name, (_, told) in FAULTS.items():
            by = dataclasses.replace(asks[0].by, task=Misbehaving(), item=dataclasses.replace(ITEM, id=name))
            (rollout,) = (await fleet.rollout(one, by)).rollouts
            assert (rollout.reward, rollout.judgement) == (None, None), name
            assert told in (rollout.error or ""), name
        assert fleet.status().verifier_errors == len(FAULTS)
        after = await fleet.rollout(asks[1].request, asks[1].by)
        assert None not in [r.reward for r in after.rollouts]
        assert pids(fleet, "reward") != [before], "the process of the judge that hangs was ended"
        assert fleet.status().reward_restarts == 1
    finally:
        await fleet.close()


async def test_all_rollout_workers_killed_at_once_come_back_and_finish_the_groups(
    fleet: Fleet, unbroken: list[RolloutGroup], asks: list[Ask]
) -> None:
    before = fleet.status()
    running = asyncio.create_task(all_groups(fleet, asks))
    await busy(fleet, "rollout")
    for pid in pids(fleet, "rollout"):
        kill(pid)
    assert drawn(await running) == drawn(unbroken)
    await fleet.settled(SETTLE_S)
    assert fleet.status().rollout_restarts == before.rollout_restarts + 2


async def test_a_frozen_worker_is_found_and_replaced_within_its_deadline(
    fleet: Fleet, unbroken: list[RolloutGroup], asks: list[Ask]
) -> None:
    before = fleet.status()
    running = asyncio.create_task(all_groups(fleet, asks))
    await busy(fleet, "rollout")
    os.kill(pids(fleet, "rollout")[0], signal.SIGSTOP)
    assert drawn(await running) == drawn(unbroken)
    await fleet.settled(SETTLE_S)
    assert fleet.status().rollout_restarts == before.rollout_restarts + 1
    assert any("hung" in (w.cause or "") for w in fleet.status().workers)


async def test_scaling_up_and_down_under_load_loses_and_doubles_nothing(
    fleet: Fleet, unbroken: list[RolloutGroup], asks: list[Ask]
) -> None:
    before = fleet.status()
    running = asyncio.create_task(all_groups(fleet, asks))
    await fleet.scale(rollout_workers=1, reward_workers=1)
    await fleet.scale(rollout_workers=1, reward_workers=1)
    assert drawn(await running) == drawn(unbroken)
    await fleet.settled(SETTLE_S)
    assert len(pids(fleet, "rollout")) == len(pids(fleet, "reward")) == 1
    await fleet.scale(rollout_workers=3, reward_workers=2)
    assert drawn(await all_groups(fleet, asks)) == drawn(unbroken)
    await fleet.settled(SETTLE_S)
    assert {w.weight_version for w in fleet.status().workers if w.kind == "rollout"} == {before.weight_version}
    assert len(pids(fleet, "rollout")) == 3
    running = asyncio.create_task(all_groups(fleet, asks))
    await busy(fleet, "rollout")
    await fleet.scale(rollout_workers=1)
    assert drawn(await running) == drawn(unbroken)
    await fleet.settled(SETTLE_S)
    assert len(pids(fleet, "rollout")) == 1
    assert fleet.status().resent_groups == before.resent_groups
    assert fleet.status().rollout_restarts == before.rollout_restarts


async def test_a_version_whose_parity_lies_never_serves(fleet: Fleet, model_dir: Path) -> None:
    await fleet.scale(rollout_workers=1)
    await fleet.settled(SETTLE_S)
    honest = publish_seed(model_dir, 60, seed=0)
    parity = dataclasses.replace(honest.parity, logprobs=tuple(lp - 0.01 for lp in honest.parity.logprobs))
    syncing = asyncio.create_task(fleet.sync(dataclasses.replace(honest, parity=parity)))
    await until(fleet, lambda status: sum("nats per token" in (w.cause or "") for w in status.workers) == 1)
    assert not any(
        w.state is State.READY or w.weight_version == 60 for w in fleet.status().workers if w.kind == "rollout"
    )
    syncing.cancel()
    await asyncio.wait([syncing])
    await fleet.sync(publish_seed(model_dir, 61, seed=0))
    assert fleet.status().weight_version == 61


async def test_a_crash_loop_ends_the_fleet_with_the_first_cause(
    tmp_path: Path, model_dir: Path, ray_session: Path
) -> None:
    load_tokenizer(model_dir).save_pretrained(tmp_path)
    fleet = ray_fleet(tmp_path, ENGINE, FleetConfig(max_restarts=1, restart_backoff_s=0.0), {})
    fleet.start()
    began = time.monotonic()
    try:
        with pytest.raises(NoWorkersLeft, match=r"config\.json|Unrecognized model"):
            await fleet.sync(publish_seed(model_dir, 1, seed=0))
        assert time.monotonic() - began < SETTLE_S
        assert fleet.status().rollout_restarts == 1
    finally:
        await fleet.close()
