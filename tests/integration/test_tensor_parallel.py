"""An engine whose layers two processes share: a new version, with parity, and the death of one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from actors.config import EngineConfig, FleetConfig
from actors.workers.fleet import Fleet
from actors.workers.states import NoWorkersLeft
from tests.fleets import SETTLE_S, all_groups, asks_for, busy, kill, pids, publish_seed, save_policy, serving
from tests.tiny import ENGINE

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

SHARED = EngineConfig.model_validate({**ENGINE.model_dump(), "tensor_parallel": 2})
CONFIG = FleetConfig(max_restarts=0)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy(tmp_path_factory.mktemp("policy"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(model_dir: Path, ray_session: Path) -> AsyncIterator[Fleet]:
    async with serving(model_dir, SHARED, CONFIG) as fleet:
        yield fleet


def shares(fleet: Fleet) -> list[psutil.Process]:
    """The processes that share the model of the only rollout worker."""
    (worker,) = pids(fleet, "rollout")
    return [child for child in psutil.Process(worker).children() if "VLLM::Worker" in " ".join(child.cmdline())]


async def test_a_version_reaches_both_processes_and_passes_the_parity_check(fleet: Fleet, model_dir: Path) -> None:
    assert len(shares(fleet)) == 2
    (report,) = await fleet.sync(publish_seed(model_dir, 2, seed=1))
    assert report.weight_version == 2
    assert report.parity_max_abs_diff <= 1e-4


async def test_the_death_of_one_process_is_the_death_of_the_worker_and_ends_the_other(
    fleet: Fleet, model_dir: Path
) -> None:
    first, second = shares(fleet)
    running = asyncio.create_task(all_groups(fleet, asks_for(model_dir, 3, max_tokens=400)))
    await busy(fleet, "rollout")
    kill(second.pid)
    with pytest.raises(NoWorkersLeft, match="the engine failed"):  # it would be replaced, but for `max_restarts`
        await running
    await asyncio.to_thread(first.wait, SETTLE_S)  # raises TimeoutExpired if it runs on
