"""The supervisor with workers that are plain objects: restarts, proofs, hung and lost workers, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from actors.engines.protocol import EngineDead
from actors.telemetry import Meters
from actors.weights.version import WeightsRefused
from actors.workers.states import HeldWeights, NoWorkersLeft, RestartPolicy, State
from actors.workers.supervisor import Changes, NoWorkerInTime, Supervisor, Timeouts, WorkerFault

pytestmark = pytest.mark.timeout(20)

POLICY = RestartPolicy(max_restarts=2, backoff_s=0.0, drain_s=5.0)
WAIT_S = 10.0


@dataclass
class FakeWorker:
    name: str
    alive: bool = True
    hung: bool = False
    silent: bool = False
    version: int | None = None
    steps: int = 0


@dataclass
class FakeDriver:
    """Workers that fail as told: `start_faults` in the order they were made, `refuses` the versions nobody takes."""

    version: int = 1
    start_faults: list[Exception | None] = field(default_factory=list)
    refuses: set[int] = field(default_factory=set)
    created: list[FakeWorker] = field(default_factory=list)

    def create(self, name: str) -> FakeWorker:
        self.created.append(FakeWorker(name))
        return self.created[-1]

    async def ready(self, worker: FakeWorker) -> int:
        number = self.created.index(worker)
        if number < len(self.start_faults) and (fault := self.start_faults[number]):
            raise fault
        return number

    async def prove(self, worker: FakeWorker, name: str) -> HeldWeights | None:
        wanted = self.version
        await asyncio.sleep(0)
        if wanted in self.refuses:
            raise WeightsRefused(f"{name} refuses {wanted}")
        worker.version = wanted
        return HeldWeights(wanted, "")

    def wanted(self) -> HeldWeights | None:
        return HeldWeights(self.version, "")

    async def check(self, worker: FakeWorker) -> object:
        if not worker.alive:
            raise EngineDead("gone")
        if worker.silent:
            raise TimeoutError
        worker.steps += not worker.hung
        return worker.steps

    async def stop(self, worker: FakeWorker) -> None:
        worker.alive = False

    def kill(self, worker: FakeWorker) -> None:
        worker.alive = False


@asynccontextmanager
async def supervisor_of(
    driver: FakeDriver, count: int, stall_s: float = 30.0, meters: Meters | None = None
) -> AsyncIterator[Supervisor[FakeWorker]]:
    timeouts = Timeouts(start_s=5.0, check_every_s=0.01, stall_s=stall_s)
    supervisor = Supervisor("rollout", driver, POLICY, timeouts, Changes(), meters or Meters())
    supervisor.resize(count)
    try:
        yield supervisor
    finally:
        await supervisor.close()
        assert not any(worker.alive for worker in driver.created)


async def test_all_start_at_once_and_are_ready_once_proved() -> None:
    driver = FakeDriver()
    async with supervisor_of(driver, 3) as supervisor:
        await supervisor.settled(WAIT_S)
        assert [w.state for w in supervisor.status()] == [State.READY] * 3
        assert {w.version for w in driver.created} == {1}


async def test_growing_and_shrinking_changes_the_number_of_workers_and_nothing_else() -> None:
    driver = FakeDriver()
    async with supervisor_of(driver, 1) as supervisor:
        await supervisor.settled(WAIT_S)
        first = driver.created[0]
        supervisor.resize(3)
        supervisor.resize(3)
        await supervisor.settled(WAIT_S)
        assert len(driver.created) == 3
        supervisor.resize(1)
        await supervisor.settled(WAIT_S)
        await supervisor.changes.wait_until(lambda: not any(w.alive for w in driver.created[1:]), WAIT_S)
        assert first.alive
        assert supervisor.table.restarts == 0


async def test_a_worker_that_leaves_keeps_its_lease_until_the_work_is_done() -> None:
    driver = FakeDriver()
    async with supervisor_of(driver, 2) as supervisor:
        await supervisor.settled(WAIT_S)
        async with supervisor.lease(WAIT_S), supervisor.lease(WAIT_S) as second:
            supervisor.resize(1)
            assert supervisor.status()[1].state is State.DRAINING
            assert second.worker.alive
        await supervisor.settled(WAIT_S)
        await supervisor.changes.wait_until(lambda: not second.worker.alive, WAIT_S)


async def test_a_lost_worker_is_replaced_and_its_successor_proved() -> None:
    driver = FakeDriver()
    async with supervisor_of(driver, 1) as supervisor:
        async with supervisor.lease(WAIT_S) as lease:
            supervisor.lost(lease.slot, lease.incarnation, "killed")
        async with supervisor.lease(WAIT_S) as again:
            assert again.worker is not lease.worker
            assert again.held == HeldWeights(1, "")
        assert supervisor.table.restarts == 1


async def test_a_worker_that_leaves_while_a_version_is_proved_is_proved_once() -> None:
    class Gated(FakeDriver):
        async def prove(self, worker: FakeWorker, name: str) -> HeldWeights | None:
            proofs.append(worker)
            await gate.wait()
            return await super().prove(worker, name)

    proofs: list[FakeWorker] = []
    gate = asyncio.Event()
    gate.set()
    driver = Gated()
    async with supervisor_of(driver, 2) as supervisor:
        await supervisor.settled(WAIT_S)
        async with supervisor.lease(WAIT_S), supervisor.lease(WAIT_S):
            proofs.clear()
            gate.clear()
            driver.version = 2
            proving = asyncio.create_task(supervisor.prove_all())
            while len(proofs) < 2:  # noqa: ASYNC110 - the fake has no event for it
                await asyncio.sleep(0)
            supervisor.resize(1)
            gate.set()
            await asyncio.wait_for(proving, WAIT_S)
            assert proofs == driver.created
            assert [w.state for w in supervisor.status()] == [State.READY, State.DRAINING]


class Counted(Meters):
    """Remembers what was counted, where the real ones need a Ray."""

    def __init__(self) -> None:
        super().__init__()
        self.added: list[tuple[str, float, dict[str, str]]] = []
        self.workers: dict[str, float] = {}

    def set(self, name: str, value: float, **labels: str) -> None:
        assert (name, labels["kind"]) == ("interplay_workers", "rollout")
        self.workers[labels["state"]] = value

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        if amount:
            self.added.append((name, amount, labels))


async def test_every_replacement_is_counted_once_and_a_first_start_never() -> None:
    meters = Counted()
    async with supervisor_of(FakeDriver(), 2, meters=meters) as supervisor:
        await supervisor.settled(WAIT_S)
        assert meters.added == []
        for _ in range(2):
            async with supervisor.lease(WAIT_S) as lease:
                supervisor.lost(lease.slot, lease.incarnation, "killed")
            await supervisor.settled(WAIT_S)
    assert meters.added == [("interplay_worker_restarts_total", 1, {"kind": "rollout"})] * 2


async def test_the_workers_by_state_are_told_as_they_are_lost() -> None:
    class Once(FakeDriver):
        """Only the first worker ever comes up."""

        async def ready(self, worker: FakeWorker) -> int:
            if worker is not self.created[0]:
                await asyncio.Event().wait()
            return await super().ready(worker)

    meters = Counted()
    async with supervisor_of(Once(), 1, meters=meters) as supervisor:
        async with supervisor.lease(WAIT_S) as lease:
            supervisor.lost(lease.slot, lease.incarnation, "killed")
        await supervisor.changes.wait_until(lambda: supervisor.status()[0].state is State.STARTING, WAIT_S)
        assert meters.workers == {state: state is State.STARTING for state in State}


async def test_a_worker_found_dead_by_a_probe_is_replaced() -> None:
    driver = FakeDriver()
    async with supervisor_of(driver, 1) as supervisor:
        await supervisor.settled(WAIT_S)
        driver.created[0].alive = False
        await supervisor.changes.wait_until(lambda: len(driver.created) == 2, WAIT_S)
        await supervisor.settled(WAIT_S)
        assert supervisor.status()[0].cause == "gone"


async def test_a_worker_that_answers_but_does_not_get_on_is_replaced() -> None:
    driver = FakeDriver()
    async with supervisor_of(driver, 1, stall_s=0.1) as supervisor:
        await supervisor.settled(WAIT_S)
        driver.created[0].hung = True
        await supervisor.changes.wait_until(lambda: len(driver.created) == 2, WAIT_S)
        await supervisor.settled(WAIT_S)
        assert "no progress" in (supervisor.status()[0].cause or "")


async def test_when_no_worker_comes_up_the_first_cause_is_told() -> None:
    driver = FakeDriver(start_faults=[EngineDead("no such model"), EngineDead("b"), EngineDead("c")])
    async with supervisor_of(driver, 1) as supervisor:
        with pytest.raises(NoWorkersLeft, match="no such model"):
            await supervisor.settled(WAIT_S)
        with pytest.raises(NoWorkersLeft, match="no such model"):
            async with supervisor.lease(WAIT_S):
                pass
        assert len(driver.created) == POLICY.max_restarts + 1


async def test_a_new_version_is_proved_by_every_worker() -> None:
    driver = FakeDriver()
    async with supervisor_of(driver, 2) as supervisor:
        await supervisor.settled(WAIT_S)
        driver.version = 2
        await supervisor.prove_all()
        assert [w.weight_version for w in supervisor.status()] == [2, 2]


async def test_a_worker_that_refuses_a_version_stays_ready_with_the_one_before() -> None:
    driver = FakeDriver(refuses={2})
    async with supervisor_of(driver, 1) as supervisor:
        await supervisor.settled(WAIT_S)
        driver.version = 2
        await supervisor.prove_all()
        async with supervisor.lease(WAIT_S) as lease:
            assert lease.held == HeldWeights(1, "")
        assert supervisor.table.restarts == 0


async def test_a_worker_whose_proof_is_left_gets_no_work_until_it_holds_what_is_wanted_then() -> None:
    class Slow(FakeDriver):
        """A worker that has loaded the second version is never compared."""

        async def prove(self, worker: FakeWorker, name: str) -> HeldWeights | None:
            held = await super().prove(worker, name)
            if worker.version == 2:
                loaded.set()
                await asyncio.Event().wait()
            return held

    loaded = asyncio.Event()
    driver = Slow()
    async with supervisor_of(driver, 1) as supervisor:
        await supervisor.settled(WAIT_S)
        driver.version = 2
        proving = asyncio.create_task(supervisor.prove_all())
        await loaded.wait()
        proving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await proving
        with pytest.raises(NoWorkerInTime):
            async with supervisor.lease(0.05):
                pass
        driver.version = 1
        await supervisor.prove_all()
        async with supervisor.lease(WAIT_S) as lease:
            assert (lease.worker.version, lease.held) == (1, HeldWeights(1, ""))
        assert supervisor.table.restarts == 0


async def test_a_worker_with_an_old_version_is_taken_out() -> None:
    driver = FakeDriver()
    async with supervisor_of(driver, 2) as supervisor:
        await supervisor.settled(WAIT_S)
        driver.version = 2
        supervisor.drop_stale()
        await supervisor.settled(WAIT_S)
        assert [w.weight_version for w in supervisor.status()] == [2, 2]
        assert supervisor.table.restarts == 2


async def test_a_worker_that_refused_a_version_and_did_not_answer_is_taken_out_with_it() -> None:
    class OneRefuses(FakeDriver):
        async def prove(self, worker: FakeWorker, name: str) -> HeldWeights | None:
            if worker is self.created[0] and self.version == 2:
                raise WeightsRefused("bucket 0")
            return await super().prove(worker, name)

    driver = OneRefuses()
    async with supervisor_of(driver, 1) as supervisor:
        await supervisor.settled(WAIT_S)
        driver.created[0].silent = True
        await supervisor.changes.wait_until(lambda: supervisor.status()[0].state is State.SUSPECT, WAIT_S)
        driver.version = 2
        await supervisor.prove_all()
        supervisor.drop_stale()
        driver.created[0].silent = False
        async with supervisor.lease(WAIT_S) as lease:
            assert lease.held == HeldWeights(2, "")


async def test_a_worker_that_starts_and_refuses_a_version_that_came_meanwhile_is_replaced() -> None:
    class Overtaken(FakeDriver):
        """While the first worker is proved a version comes; it is taken back once that worker has refused it."""

        async def prove(self, worker: FakeWorker, name: str) -> HeldWeights | None:
            held = await super().prove(worker, name) if self.version == 1 else None
            if worker is self.created[0]:
                self.version = 2 if self.version == 1 else 1
            if held is None:
                raise WeightsRefused("bucket 0")
            return held

    driver = Overtaken()
    async with supervisor_of(driver, 1) as supervisor, supervisor.lease(WAIT_S) as lease:
        assert (lease.worker, lease.held) == (driver.created[1], HeldWeights(1, ""))


async def test_a_failed_proof_costs_the_worker() -> None:
    class Liar(FakeDriver):
        async def prove(self, worker: FakeWorker, name: str) -> HeldWeights | None:
            if self.created.index(worker) == 0:
                raise WorkerFault("parity")
            return await super().prove(worker, name)

    driver = Liar()
    async with supervisor_of(driver, 1) as supervisor:
        async with supervisor.lease(WAIT_S) as lease:
            assert lease.worker is driver.created[1]
        assert supervisor.status()[0].cause == "parity"


async def test_work_on_a_lost_worker_is_interrupted_even_if_the_process_never_answers() -> None:
    driver = FakeDriver()
    async with supervisor_of(driver, 1, stall_s=0.1) as supervisor:
        await supervisor.settled(WAIT_S)
        driver.created[0].hung = True
        with pytest.raises(TimeoutError):
            async with supervisor.lease(WAIT_S):
                await asyncio.Event().wait()
        async with supervisor.lease(WAIT_S) as again:
            assert again.worker is driver.created[1]


async def test_waiting_for_a_worker_has_a_deadline() -> None:
    class Slow(FakeDriver):
        async def ready(self, worker: FakeWorker) -> int:
            await asyncio.Event().wait()
            raise AssertionError

    async with supervisor_of(Slow(), 1) as supervisor:
        with pytest.raises(NoWorkerInTime):
            async with supervisor.lease(0.05):
                pass


async def test_our_own_mistakes_reach_whoever_waits() -> None:
    class Broken(FakeDriver):
        def create(self, name: str) -> FakeWorker:
            raise ZeroDivisionError

    async with supervisor_of(Broken(), 1) as supervisor:
        with pytest.raises(ZeroDivisionError):
            await supervisor.settled(WAIT_S)
