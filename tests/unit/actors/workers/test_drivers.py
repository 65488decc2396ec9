"""The proof of a rollout worker: who is to blame when it fails, and of which version it is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, GetTimeoutError, OwnerDiedError, RayTaskError

from actors.config import EngineConfig, FleetConfig
from actors.telemetry import Meters
from actors.weights.parity import ParityReference
from actors.weights.version import WeightsRefused, WeightVersion
from actors.workers.drivers import _RolloutDriver
from actors.workers.rollout import SyncReport
from actors.workers.supervisor import WorkerFault


def version(number: int) -> WeightVersion:
    return WeightVersion(number, (), (), str(number), ParityReference((), ()))


def told(cause: Exception) -> Exception:
    """The error as it comes from a worker."""
    return RayTaskError("load", "", cause).as_instanceof_cause()


class Worker:
    """A worker's handle; its first load fails."""

    def __init__(self, error: Exception) -> None:
        self.load = self
        self.loaded: list[int] = []
        self.error = error

    async def remote(self, weights: WeightVersion, *_: Any) -> SyncReport:
        self.loaded.append(weights.version)
        if len(self.loaded) == 1:
            raise self.error
        return SyncReport(weights.version, 0.0, 0.0, 0.0, "w", 0.0, 0.0, 0.0)


@pytest.fixture
def driver() -> _RolloutDriver:
    made = _RolloutDriver(Path(), EngineConfig(), FleetConfig(), {}, Meters())
    made.publish(version(3))
    return made


LOST = OwnerDiedError("00", None, "")


@pytest.mark.parametrize("error", [LOST, told(LOST)])
async def test_a_worker_waits_for_the_version_after_one_that_died_with_its_publisher(
    driver: _RolloutDriver, error: Exception
) -> None:
    worker = Worker(error)
    proving = asyncio.create_task(driver.prove(worker, "w"))
    await asyncio.sleep(0.01)
    assert worker.loaded == [3]
    driver.publish(version(2))
    held = await proving
    assert held is not None
    assert held.version == 2
    assert worker.loaded == [3, 2]


@pytest.mark.parametrize("error", [told(WeightsRefused("damaged")), ActorDiedError()])
async def test_any_other_failure_is_the_workers(driver: _RolloutDriver, error: Exception) -> None:
    with pytest.raises(type(error)):
        await driver.prove(Worker(error), "w")
    assert driver.refused == isinstance(error, WeightsRefused)


@pytest.mark.parametrize("error", [TimeoutError(), told(GetTimeoutError("Get timed out"))])
async def test_a_version_that_takes_too_long_is_told_with_the_keys_that_say_how_long(
    driver: _RolloutDriver, error: Exception
) -> None:
    said = r"w did not take weight version 3 in time: fleet.fetch_timeout_s is 30, fleet.load_timeout_s 30"
    with pytest.raises(WorkerFault, match=said):
        await driver.prove(Worker(error), "w")


class Late(Worker):
    """A worker that answers once the next version is out."""

    def __init__(self, driver: _RolloutDriver, error: Exception) -> None:
        super().__init__(error)
        self.driver = driver

    async def remote(self, weights: WeightVersion, *_: Any) -> SyncReport:
        self.driver.publish(version(4))
        return await super().remote(weights)


async def test_what_came_of_a_version_is_not_told_of_the_next(driver: _RolloutDriver) -> None:
    late = Late(driver, WeightsRefused("damaged"))
    with pytest.raises(WeightsRefused):
        await driver.prove(late, "w")
    held = await driver.prove(late, "w")
    assert held is not None
    assert (held.version, driver.refused, driver.refusals, driver.reports) == (4, 1, [], [])
