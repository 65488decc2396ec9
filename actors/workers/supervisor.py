"""The supervisor of one kind of workers: starts, proves, watches, replaces and stops those that its table asks for.

It owns every wait and every task around a worker, but knows neither Ray nor the work: a `WorkerDriver` knows how to
make, prove and kill a worker. Everything here runs in one asyncio loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from ray.exceptions import RayError, RayTaskError

from actors.engines.protocol import EngineError
from actors.telemetry import Meters
from actors.weights.version import WeightsRefused
from actors.workers.states import ALIVE, Action, HeldWeights, Member, RestartPolicy, State, WorkerTable
from actors.workers.status import WorkerStatus
from verifier.errors import Failure

H = TypeVar("H")

_STOP_S: Final = 10.0


class WorkerFault(Failure):
    """A worker is up but must get no work: it failed the parity check, or it hangs."""


class NoWorkerInTime(Failure):
    """No worker was ready within the deadline, though some may still come up."""


WORKER_ERRORS: Final = (RayError, EngineError, WeightsRefused, WorkerFault, TimeoutError)
"""The errors that a call to a lost or unusable worker may raise."""


def in_a_line(error: BaseException) -> str:
    """The first line of an error, without the traceback that Ray adds."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__


class WorkerDriver(Protocol[H]):
    """What a supervisor must know of its workers; every call may raise one of WORKER_ERRORS."""

    def create(self, name: str) -> H:
        """Begin to make a worker; returns at once."""
        ...

    async def ready(self, worker: H) -> int:
        """Wait until it is up; returns its process id."""
        ...

    async def prove(self, worker: H, name: str) -> HeldWeights | None:
        """Wait until it has shown which weights it holds; returns those."""
        ...

    def wanted(self) -> HeldWeights | None:
        """What a ready worker must hold, if it must hold anything."""
        ...

    async def check(self, worker: H) -> object:
        """Check it once; returns a value that changes while a busy worker makes progress, and None while it is idle."""
        ...

    async def stop(self, worker: H) -> None:
        """Ask it to end."""
        ...

    def kill(self, worker: H) -> None:
        """End it now; never raises."""
        ...


class Changes:
    """Lets any number of tasks wait for a condition that changes make true."""

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self._bug: BaseException | None = None

    def notify(self) -> None:
        """Something changed: every waiter looks at its condition again."""
        self._next.set()
        self._next = asyncio.Event()

    def fail(self, bug: BaseException) -> None:
        """Nothing will change any more: every waiter raises this error."""
        self._bug = bug
        self.notify()

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> None:
        """Return once `condition()` holds. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                if self._bug is not None:
                    raise self._bug
                await self._next.wait()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a supervisor waits, in seconds: for a start, between two checks, for an answer or for progress."""

    start_s: float
    check_every_s: float
    stall_s: float


@dataclass(frozen=True, slots=True)
class Lease(Generic[H]):
    """The right to give one piece of work to one incarnation of a worker.

    `turn` is for work that the worker does one piece at a time.
    """

    worker: H
    slot: int
    incarnation: int
    held: HeldWeights | None
    turn: asyncio.Lock


@dataclass(slots=True)
class _Process(Generic[H]):
    """One incarnation of a worker, from its making to its end; `leases` are the pieces of work that end with it."""

    worker: H
    pid: int | None = None
    proof: asyncio.Lock = field(default_factory=asyncio.Lock)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    leases: set[asyncio.Timeout] = field(default_factory=set)


class Supervisor(Generic[H]):
    """Keeps the wanted number of workers proved and ready. Call `resize` to begin and `close` to end."""

    def __init__(
        self,
        kind: str,
        driver: WorkerDriver[H],
        policy: RestartPolicy,
        timeouts: Timeouts,
        changes: Changes,
        meters: Meters,
    ) -> None:
        self.kind = kind
        self.table = WorkerTable(policy)
        self.changes = changes
        self._driver = driver
        self._meters = meters
        self._timeouts = timeouts
        self._processes: dict[int, _Process[H]] = {}
        self._counted: Counter[State] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._supervisor: asyncio.Task[None] | None = None

    def resize(self, count: int) -> None:
        """Ask for `count` workers; returns at once. Asking twice is asking once."""
        self.table.resize(count, time.monotonic())
        if self._supervisor is None:
            self._supervisor = self._spawn(self._supervise())
        self.changes.notify()

    async def settled(self, timeout_s: float) -> None:
        """Wait until no worker is starting or draining. Raises TimeoutError, or NoWorkersLeft if none is left."""
        await self.changes.wait_until(lambda: self.table.settled, timeout_s)
        if self.table.exhausted:
            self.table.take()

    @asynccontextmanager
    async def lease(self, timeout_s: float) -> AsyncIterator[Lease[H]]:
        """Wait for a ready worker and hold the least loaded one.

        If the worker is lost meanwhile, the body is cancelled and TimeoutError is raised, since a frozen process never
        answers. Raises NoWorkersLeft, or NoWorkerInTime.
        """
        member = await self._take(timeout_s)
        slot, incarnation = member.slot, member.incarnation
        process = self._processes[incarnation]
        interruption = asyncio.timeout(None)
        process.leases.add(interruption)
        try:
            async with interruption:
                yield Lease(process.worker, slot, incarnation, member.held, process.turn)
        finally:
            process.leases.discard(interruption)
            self.table.give_back(slot, incarnation)
            self.changes.notify()

    def lost(self, slot: int, incarnation: int, cause: str) -> None:
        """Give an incarnation up and kill its process."""
        self.table.lost(slot, incarnation, cause, time.monotonic())
        self._forget(incarnation)
        self.changes.notify()

    def replace(self, slot: int, incarnation: int, cause: str) -> None:
        """As `lost`, but not its fault: it does not count against `max_restarts`, and the next one starts at once."""
        self.table.replaced(slot, incarnation, cause, time.monotonic())
        self._forget(incarnation)
        self.changes.notify()

    async def prove_all(self) -> None:
        """Prove every worker that is up against the weights wanted now; those that fail are lost.

        A ready worker that refuses the version is not lost: it stays ready with the weights it holds.
        """
        up = (State.SYNCING, State.READY, State.SUSPECT)
        members = [(m.slot, m.incarnation) for m in self.table.members.values() if m.state in up]
        await asyncio.gather(*(self._prove(slot, incarnation) for slot, incarnation in members))

    def drop_stale(self) -> None:
        """Give up the workers that are ready, or will be once they answer, without the weights wanted now."""
        wanted = self._driver.wanted()
        proved = [m for m in self.table.members.values() if m.state in (State.READY, State.SUSPECT)]
        for member in [m for m in proved if m.held != wanted]:
            self.lost(member.slot, member.incarnation, f"holds {member.held} instead of {wanted}")

    def status(self) -> tuple[WorkerStatus, ...]:
        """Every worker, including those that drain."""
        return tuple(
            WorkerStatus(
                kind=self.kind,
                name=self._name(m.slot, m.incarnation),
                state=m.state,
                pid=self._pid(m.incarnation),
                weight_version=m.held.version if m.held is not None else None,
                open=m.open,
                failures=m.failures,
                cause=m.cause,
            )
            for m in sorted(self.table.everyone(), key=lambda m: (m.slot, m.incarnation))
        )

    async def close(self) -> None:
        """End every worker and every task; safe to call twice."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._stop_worker(process.worker) for process in self._processes.values()))
        self._processes.clear()

    async def _take(self, timeout_s: float) -> Member:
        taken: list[Member] = []

        def try_to_take() -> bool:
            member = self.table.take()
            if member is not None:
                taken.append(member)
            return member is not None

        try:
            await self.changes.wait_until(try_to_take, timeout_s)
        except TimeoutError as error:
            raise NoWorkerInTime(f"no {self.kind} worker was ready in {timeout_s:g} s") from error
        self.changes.notify()
        return taken[0]

    async def _supervise(self) -> None:
        actions: list[Action] = []

        def something_to_do() -> bool:
            before = self.table.restarts
            actions.extend(self.table.plan(time.monotonic()))
            self._meters.add("interplay_worker_restarts_total", self.table.restarts - before, kind=self.kind)
            self._count_states()
            return bool(actions)

        while True:
            due = self.table.next_due()
            with suppress(TimeoutError):  # something is due
                await self.changes.wait_until(
                    something_to_do, None if due is None else max(0.0, due - time.monotonic())
                )
            for action in actions:
                self._spawn(self._bring_up(action) if action.kind == "start" else self._let_go(action))
            actions.clear()

    def _count_states(self) -> None:
        counts = Counter(member.state for member in self.table.everyone())
        if counts != self._counted:
            self._counted = counts
            for state in State:
                self._meters.set("interplay_workers", counts[state], kind=self.kind, state=state)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Tasks handle the errors they expect; any other is a bug and is raised to whoever waits."""
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self.changes.fail(bug)

    async def _bring_up(self, action: Action) -> None:
        slot, incarnation = action.slot, action.incarnation
        try:
            process = _Process(self._driver.create(self._name(slot, incarnation)))
            self._processes[incarnation] = process
            async with asyncio.timeout(self._timeouts.start_s):
                process.pid = await self._driver.ready(process.worker)
        except TimeoutError:
            self.lost(slot, incarnation, f"not up in {self._timeouts.start_s:g} s")
            return
        except WORKER_ERRORS as error:
            self.lost(slot, incarnation, in_a_line(error))
            return
        self.table.started(slot, incarnation, time.monotonic())
        self.changes.notify()
        await self._prove(slot, incarnation)
        await self._watch(slot, incarnation)

    async def _prove(self, slot: int, incarnation: int) -> None:
        """Prove it until it holds the wanted weights, which may change meanwhile; one proof of a worker at a time."""
        process = self._processes.get(incarnation)
        if process is None:
            return  # it was lost meanwhile
        async with process.proof:
            while member := self.table.current(slot, incarnation, *ALIVE):
                if member.state is not State.SYNCING and member.held == self._driver.wanted():
                    return
                try:
                    held = await self._driver.prove(process.worker, self._name(slot, incarnation))
                except WORKER_ERRORS as error:
                    if member.state is State.SYNCING or not isinstance(error, WeightsRefused):
                        self.lost(slot, incarnation, in_a_line(error))
                    return  # a ready worker that refused a version goes on with the one before
                except asyncio.CancelledError:  # as when the learner is lost: the worker may load the version yet
                    self.table.unproved(slot, incarnation, time.monotonic())
                    raise
                self.table.proved(slot, incarnation, held, self._driver.wanted(), time.monotonic())
                self.changes.notify()

    async def _watch(self, slot: int, incarnation: int) -> None:
        """Check it until it is gone: suspect when it does not answer, lost when it makes no progress."""
        answered = moved = time.monotonic()
        seen: object = None
        while (process := self._processes.get(incarnation)) is not None:
            await asyncio.sleep(self._timeouts.check_every_s)
            try:
                async with asyncio.timeout(max(5.0, self._timeouts.check_every_s)):
                    progress = await self._driver.check(process.worker)
            except TimeoutError:
                self.table.doubted(slot, incarnation, time.monotonic())
            except WORKER_ERRORS as error:
                self.lost(slot, incarnation, in_a_line(error))
                return
            else:
                answered = time.monotonic()
                self.table.cleared(slot, incarnation, answered)
                if progress is None or progress != seen:
                    moved = answered
                seen = progress
            self.changes.notify()
            if time.monotonic() - min(answered, moved) > self._timeouts.stall_s:
                self.lost(slot, incarnation, f"hung: no progress in {self._timeouts.stall_s:g} s")
                return

    async def _let_go(self, action: Action) -> None:
        process = self._processes.get(action.incarnation)
        if process is not None:
            await self._stop_worker(process.worker)
        self._forget(action.incarnation)
        self.changes.notify()

    async def _stop_worker(self, worker: H) -> None:
        with suppress(*WORKER_ERRORS):  # it is killed next in any case
            async with asyncio.timeout(_STOP_S):
                await self._driver.stop(worker)
        self._driver.kill(worker)

    def _forget(self, incarnation: int) -> None:
        process = self._processes.pop(incarnation, None)
        if process is None:
            return
        for interruption in process.leases:
            interruption.reschedule(asyncio.get_running_loop().time())
        self._driver.kill(process.worker)

    def _pid(self, incarnation: int) -> int | None:
        process = self._processes.get(incarnation)
        return None if process is None else process.pid

    def _name(self, slot: int, incarnation: int) -> str:
        return f"{self.kind}-{slot}.{incarnation}"
