"""The crew with workers that are plain objects: restarts, proofs, hung and lost workers, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from actors.crew import Crew, NoWorkerInTime, Patience, Pulse, WorkerFault
from actors.engine import EngineDead
from actors.fleet import FleetExhausted, FleetPolicy, Held, State
from actors.weights import WeightsRefused

pytestmark = pytest.mark.timeout(20)

POLICY = FleetPolicy(max_restarts=2, backoff_s=0.0, drain_s=5.0)
WAIT_S = 10.0


@dataclass
class FakeWorker:
    name: str
    alive: bool = True
    hung: bool = False
    version: int | None = None
    steps: int = 0


@dataclass
class FakeTrade:
    """Workers that fail as told: `start_faults` by order of hiring, `refuses` the versions nobody takes."""

    version: int = 1
    start_faults: list[Exception | None] = field(default_factory=list)
    refuses: set[int] = field(default_factory=set)
    hired: list[FakeWorker] = field(default_factory=list)

    def hire(self, name: str) -> FakeWorker:
        self.hired.append(FakeWorker(name))
        return self.hired[-1]

    async def ready(self, worker: FakeWorker) -> int:
        number = self.hired.index(worker)
        if number < len(self.start_faults) and (fault := self.start_faults[number]):
            raise fault
        return number

    async def prove(self, worker: FakeWorker, name: str) -> Held | None:
        wanted = self.version
        await asyncio.sleep(0)
        if wanted in self.refuses:
            raise WeightsRefused(f"{name} refuses {wanted}")
        worker.version = wanted
        return Held(wanted, "")

    def wanted(self) -> Held | None:
        return Held(self.version, "")

    async def watch(self, worker: FakeWorker) -> object:
        if not worker.alive:
            raise EngineDead("gone")
        worker.steps += not worker.hung
        return worker.steps

    async def dismiss(self, worker: FakeWorker) -> None:
        worker.alive = False

    def kill(self, worker: FakeWorker) -> None:
        worker.alive = False


@asynccontextmanager
async def crew_of(trade: FakeTrade, count: int, stall_s: float = 30.0) -> AsyncIterator[Crew[FakeWorker]]:
    patience = Patience(start_s=5.0, probe_every_s=0.01, stall_s=stall_s)
    crew = Crew("rollout", trade, POLICY, patience, Pulse())
    crew.resize(count)
    try:
        yield crew
    finally:
        await crew.close()
        assert not any(worker.alive for worker in trade.hired)


async def test_all_start_at_once_and_serve_once_proved() -> None:
    trade = FakeTrade()
    async with crew_of(trade, 3) as crew:
        await crew.settled(WAIT_S)
        assert [w.state for w in crew.status()] == [State.SERVING] * 3
        assert {w.version for w in trade.hired} == {1}


async def test_growing_and_shrinking_changes_who_serves_and_nothing_else() -> None:
    trade = FakeTrade()
    async with crew_of(trade, 1) as crew:
        await crew.settled(WAIT_S)
        first = trade.hired[0]
        crew.resize(3)
        crew.resize(3)
        await crew.settled(WAIT_S)
        assert len(trade.hired) == 3
        crew.resize(1)
        await crew.settled(WAIT_S)
        await crew.pulse.until(lambda: not any(w.alive for w in trade.hired[1:]), WAIT_S)
        assert first.alive
        assert crew.fleet.restarts == 0


async def test_one_that_leaves_keeps_its_lease_until_the_work_is_done() -> None:
    trade = FakeTrade()
    async with crew_of(trade, 2) as crew:
        await crew.settled(WAIT_S)
        async with crew.lease(WAIT_S), crew.lease(WAIT_S) as second:
            crew.resize(1)
            assert crew.status()[1].state is State.DRAINING
            assert second.worker.alive
        await crew.settled(WAIT_S)
        await crew.pulse.until(lambda: not second.worker.alive, WAIT_S)


async def test_a_lost_worker_is_replaced_and_its_successor_proved() -> None:
    trade = FakeTrade()
    async with crew_of(trade, 1) as crew:
        async with crew.lease(WAIT_S) as lease:
            crew.lost(lease.slot, lease.incarnation, "killed")
        async with crew.lease(WAIT_S) as again:
            assert again.worker is not lease.worker
            assert again.held == Held(1, "")
        assert crew.fleet.restarts == 1


async def test_a_worker_found_dead_by_a_probe_is_replaced() -> None:
    trade = FakeTrade()
    async with crew_of(trade, 1) as crew:
        await crew.settled(WAIT_S)
        trade.hired[0].alive = False
        await crew.pulse.until(lambda: len(trade.hired) == 2, WAIT_S)
        await crew.settled(WAIT_S)
        assert crew.status()[0].cause == "gone"


async def test_a_worker_that_answers_but_does_not_get_on_is_replaced() -> None:
    trade = FakeTrade()
    async with crew_of(trade, 1, stall_s=0.1) as crew:
        await crew.settled(WAIT_S)
        trade.hired[0].hung = True
        await crew.pulse.until(lambda: len(trade.hired) == 2, WAIT_S)
        await crew.settled(WAIT_S)
        assert "no progress" in (crew.status()[0].cause or "")


async def test_when_nobody_comes_up_the_first_cause_is_told() -> None:
    trade = FakeTrade(start_faults=[EngineDead("no such model"), EngineDead("b"), EngineDead("c")])
    async with crew_of(trade, 1) as crew:
        with pytest.raises(FleetExhausted, match="no such model"):
            await crew.settled(WAIT_S)
        with pytest.raises(FleetExhausted, match="no such model"):
            async with crew.lease(WAIT_S):
                pass
        assert len(trade.hired) == POLICY.max_restarts + 1


async def test_a_new_version_is_proved_by_everyone_before_they_serve_it() -> None:
    trade = FakeTrade()
    async with crew_of(trade, 2) as crew:
        await crew.settled(WAIT_S)
        trade.version = 2
        await crew.prove_all()
        assert [w.version for w in crew.status()] == [2, 2]


async def test_who_refuses_a_version_keeps_serving_the_one_before() -> None:
    trade = FakeTrade(refuses={2})
    async with crew_of(trade, 1) as crew:
        await crew.settled(WAIT_S)
        trade.version = 2
        await crew.prove_all()
        async with crew.lease(WAIT_S) as lease:
            assert lease.held == Held(1, "")
        assert crew.fleet.restarts == 0


async def test_who_holds_an_old_version_while_others_moved_on_is_taken_out() -> None:
    trade = FakeTrade()
    async with crew_of(trade, 2) as crew:
        await crew.settled(WAIT_S)
        trade.version = 2
        crew.drop_stale()
        await crew.settled(WAIT_S)
        assert [w.version for w in crew.status()] == [2, 2]
        assert crew.fleet.restarts == 2


async def test_a_failed_proof_costs_the_worker() -> None:
    class Liar(FakeTrade):
        async def prove(self, worker: FakeWorker, name: str) -> Held | None:
            if self.hired.index(worker) == 0:
                raise WorkerFault("canary")
            return await super().prove(worker, name)

    trade = Liar()
    async with crew_of(trade, 1) as crew:
        async with crew.lease(WAIT_S) as lease:
            assert lease.worker is trade.hired[1]
        assert crew.status()[0].cause == "canary"


async def test_work_on_a_lost_worker_is_interrupted_even_if_the_process_never_answers() -> None:
    trade = FakeTrade()
    async with crew_of(trade, 1, stall_s=0.1) as crew:
        await crew.settled(WAIT_S)
        trade.hired[0].hung = True
        with pytest.raises(TimeoutError):
            async with crew.lease(WAIT_S):
                await asyncio.Event().wait()
        async with crew.lease(WAIT_S) as again:
            assert again.worker is trade.hired[1]


async def test_waiting_for_a_worker_has_a_deadline() -> None:
    class Slow(FakeTrade):
        async def ready(self, worker: FakeWorker) -> int:
            await asyncio.Event().wait()
            raise AssertionError

    async with crew_of(Slow(), 1) as crew:
        with pytest.raises(NoWorkerInTime):
            async with crew.lease(0.05):
                pass


async def test_our_own_mistakes_reach_whoever_waits() -> None:
    class Broken(FakeTrade):
        def hire(self, name: str) -> FakeWorker:
            raise ZeroDivisionError

    async with crew_of(Broken(), 1) as crew:
        with pytest.raises(ZeroDivisionError):
            await crew.settled(WAIT_S)
