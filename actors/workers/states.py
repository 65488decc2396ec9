"""The states of a set of workers: which get work, which are replaced and when, which are retired. A state machine.

It holds no actor, no wait and no clock: every event brings its time in seconds, and `plan` says what to start and what
to stop. A replacement is a new incarnation of its slot and gets no work before it is proved: `dead` leads to `starting`
only.

    starting -> syncing -> ready <-> suspect        any of these -> dead -> starting (after a pause, a bounded number
                   ^---------'                                       `----> retired   of times)
    ready, suspect -> draining -> gone
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from verifier.errors import Failure

_FORGIVE_AFTER_S: Final = 300.0  # a worker that was ready for so long has a clean record from then on
_DOUBLINGS: Final = 10  # of the pause before a replacement


class State(StrEnum):
    """The state of a worker. Only READY gets new work."""

    STARTING = "starting"
    SYNCING = "syncing"
    READY = "ready"
    SUSPECT = "suspect"
    DRAINING = "draining"
    DEAD = "dead"
    RETIRED = "retired"


ALIVE: Final = frozenset({State.STARTING, State.SYNCING, State.READY, State.SUSPECT, State.DRAINING})


@dataclass(frozen=True, slots=True)
class HeldWeights:
    """Which weights a worker holds: a version's number, and its hash, since a number may be published twice."""

    version: int
    weight_hash: str


class NoWorkersLeft(Failure):
    """No worker is left and none will come back; the message is the first cause of the first to be given up."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """`max_restarts` replacements per slot, the first after `backoff_s` seconds; the pause doubles ten times at most.

    A worker that leaves has `drain_s` seconds for its open work.
    """

    max_restarts: int
    backoff_s: float
    drain_s: float

    def pause_s(self, failures: int) -> float:
        """Before the replacement that follows so many losses."""
        return self.backoff_s * 2 ** min(failures - 1, _DOUBLINGS)


@dataclass(slots=True)
class Member:
    """One slot of the table, and the incarnation that fills it now. `first_cause` is of the first of `failures`."""

    slot: int
    incarnation: int = 0
    state: State = State.DEAD
    since: float = 0.0
    held: HeldWeights | None = None
    open: int = 0
    failures: int = 0
    restart_at: float = 0.0
    cause: str | None = None
    first_cause: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What the owner of the table has to do: start an incarnation, or stop it."""

    kind: Literal["start", "stop"]
    slot: int
    incarnation: int


@dataclass(slots=True)
class WorkerTable:
    """The members by slot. Events of an incarnation that is no longer current are ignored."""

    policy: RestartPolicy
    members: dict[int, Member] = field(default_factory=dict)
    restarts: int = 0
    _leaving: list[Member] = field(default_factory=list)
    _incarnations: int = 0

    def resize(self, count: int, now: float) -> None:
        """Ask for `count` workers; asking twice is asking once.

        The least useful leave first: retired ones, then those not yet ready, then the newest.
        """
        if count < 1:
            raise ValueError(f"a fleet keeps at least one worker, not {count}")
        for _ in range(len(self.members) - count):
            self._release(min(self.members.values(), key=_usefulness), now)
        free = (slot for slot in range(count + len(self.members)) if slot not in self.members)
        for _ in range(count - len(self.members)):
            slot = next(free)
            self.members[slot] = Member(slot, since=now, restart_at=now)

    def plan(self, now: float) -> list[Action]:
        """What is to be done by now; each action is given once."""
        actions = [self._start(m, now) for m in self._dead() if m.restart_at <= now]
        drained = [m for m in self._leaving if m.open == 0 or self._drain_end(m) <= now]
        self._leaving = [m for m in self._leaving if m not in drained]
        return actions + [Action("stop", m.slot, m.incarnation) for m in drained]

    def next_due(self) -> float | None:
        """The time at which `plan` has something to do if no event comes before."""
        ends = [self._drain_end(m) for m in self._leaving]
        return min([*ends, *(m.restart_at for m in self._dead())], default=None)

    def started(self, slot: int, incarnation: int, now: float) -> None:
        """Its process is up and its engine answers."""
        if member := self.current(slot, incarnation, State.STARTING):
            _enter(member, State.SYNCING, now)

    def proved(
        self, slot: int, incarnation: int, held: HeldWeights | None, wanted: HeldWeights | None, now: float
    ) -> bool:
        """It has proved which weights it holds; returns whether they are `wanted`, so that it is ready."""
        member = self.current(slot, incarnation, State.SYNCING, State.READY, State.SUSPECT)
        if member is None:
            return False
        member.held = held
        if held != wanted:
            _enter(member, State.SYNCING, now)
        elif member.state is State.SYNCING:
            _enter(member, State.READY, now)
        return member.state is State.READY

    def unproved(self, slot: int, incarnation: int, now: float) -> None:
        """Nobody waits for its proof any more: what it holds is not known, and it gets no work, until it is proved."""
        if member := self.current(slot, incarnation, State.SYNCING, State.READY, State.SUSPECT):
            member.held = None
            _enter(member, State.SYNCING, now)

    def doubted(self, slot: int, incarnation: int, now: float) -> None:
        """It did not answer a check in time: no new work until it does."""
        if member := self.current(slot, incarnation, State.READY):
            _enter(member, State.SUSPECT, now)

    def cleared(self, slot: int, incarnation: int, now: float) -> None:
        """It answers again."""
        if member := self.current(slot, incarnation, State.SUSPECT):
            _enter(member, State.READY, now)

    def lost(self, slot: int, incarnation: int, cause: str, now: float) -> bool:
        """It died, hung or did not start; returns whether its state changed. Its callers send their work again."""
        self._leaving = [m for m in self._leaving if (m.slot, m.incarnation) != (slot, incarnation)]
        member = self.current(slot, incarnation, *ALIVE)
        if member is None:
            return False
        _end(member, cause, now)
        member.failures += 1
        if member.failures == 1:
            member.first_cause = cause
        if member.failures > self.policy.max_restarts:
            _enter(member, State.RETIRED, now)
        else:
            member.restart_at = now + self.policy.pause_s(member.failures)
        return True

    def replaced(self, slot: int, incarnation: int, cause: str, now: float) -> None:
        """Its work blocks it, which is not its own fault: the next incarnation may start at once."""
        self._leaving = [m for m in self._leaving if (m.slot, m.incarnation) != (slot, incarnation)]
        if member := self.current(slot, incarnation, *ALIVE):
            _end(member, cause, now)
            member.restart_at = now

    def take(self) -> Member | None:
        """Give a piece of work to the least loaded ready worker; None if no worker is ready.

        Raises NoWorkersLeft if none ever will be.
        """
        ready = [m for m in self.members.values() if m.state is State.READY]
        if ready:
            chosen = min(ready, key=lambda m: (m.open, m.slot))
            chosen.open += 1
            return chosen
        if self.exhausted:
            given_up = sorted(self.members.values(), key=lambda m: m.since)
            raise NoWorkersLeft(next((m.first_cause for m in given_up if m.first_cause), "no worker was asked for"))
        return None

    def give_back(self, slot: int, incarnation: int) -> None:
        """A piece of work of that incarnation has ended."""
        for member in (*self.members.values(), *self._leaving):
            if (member.slot, member.incarnation) == (slot, incarnation) and member.open > 0:
                member.open -= 1

    @property
    def exhausted(self) -> bool:
        """Whether every slot is retired."""
        return all(m.state is State.RETIRED for m in self.members.values())

    @property
    def settled(self) -> bool:
        """Whether no worker is starting or draining."""
        at_rest = (State.READY, State.SUSPECT, State.RETIRED)
        return not self._leaving and all(m.state in at_rest for m in self.members.values())

    def everyone(self) -> Iterator[Member]:
        """The members, then the workers that drain."""
        yield from self.members.values()
        yield from self._leaving

    def current(self, slot: int, incarnation: int, *states: State) -> Member | None:
        """The member in that slot, if it is still that incarnation and in one of the states."""
        member = self.members.get(slot)
        if member is None or member.incarnation != incarnation or member.state not in states:
            return None
        return member

    def _dead(self) -> list[Member]:
        return [m for m in self.members.values() if m.state is State.DEAD]

    def _drain_end(self, member: Member) -> float:
        return member.since + self.policy.drain_s

    def _start(self, member: Member, now: float) -> Action:
        if member.incarnation:
            self.restarts += 1
        self._incarnations += 1
        member.incarnation = self._incarnations
        _enter(member, State.STARTING, now)
        return Action("start", member.slot, member.incarnation)

    def _release(self, member: Member, now: float) -> None:
        del self.members[member.slot]
        if member.state in ALIVE:
            _enter(member, State.DRAINING, now)
            self._leaving.append(member)


def _enter(member: Member, state: State, now: float) -> None:
    if member.state is State.READY and now - member.since >= _FORGIVE_AFTER_S:
        member.failures = 0
    member.state = state
    member.since = now


def _end(member: Member, cause: str, now: float) -> None:
    _enter(member, State.DEAD, now)
    member.cause = cause
    member.open = 0
    member.held = None


def _usefulness(member: Member) -> tuple[int, int]:
    order = (State.RETIRED, State.DEAD, State.STARTING, State.SYNCING, State.SUSPECT, State.READY)
    return order.index(member.state), -member.slot
