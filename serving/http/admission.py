"""Who may enter, and when: budgets per key, and places in the engines shared fairly between keys.

Pure asyncio and arithmetic; no HTTP. Refusals are immediate: nothing here waits except for a place. A place is room for
one sequence in the engines. The lines of the keys advance by start-time fair queueing (Goyal, Vin and Cheng 1996): each
place costs its key the tokens it asks for, divided by the key's weight, and the key that has had the least is next.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from serving.http.errors import TooManyRequests, Unavailable

_BUCKETS_KEPT: Final = 4096
_AWAY_S: Final = 1.0
"""How long a key that has left still counts among the others: who asks one thing after another is away in between."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a key's name, its weight among the keys, and the user that the request names, if any."""

    key: str
    weight: int = 1
    user: str | None = None


class Budget:
    """`per_minute` units on average and `burst` at once, for each key name. A unit is a request, or a token asked."""

    def __init__(self, unit: str, per_minute: int, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._unit = unit
        self.per_minute = per_minute
        self._rate = per_minute / 60.0
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> (tokens, time of that count)

    def take(self, name: str, units: int = 1) -> None:
        """Spend `units` of `name`, at most a whole burst; TooManyRequests tells in how many seconds it can."""
        now, cost = self._clock(), min(units, self._burst)
        left, since = self._buckets.pop(name, (float(self._burst), now))
        left = min(self._burst, left + (now - since) * self._rate)
        self._buckets[name] = (left - cost if left >= cost else left, now)
        if len(self._buckets) > _BUCKETS_KEPT:
            self._buckets.popitem(last=False)
        if left < cost:
            wait_s = max(1, math.ceil((cost - left) / self._rate))
            raise TooManyRequests(
                f"this key's {self._unit}s per minute are used up; try again in {wait_s} s", retry_after_s=wait_s
            )


@dataclass(slots=True, eq=False)  # a line looks its waits up, and two are never the same
class _Waiting:
    """A wait for a place; `request` says that it is the first place of a request."""

    cost: float
    turn: asyncio.Future[None]
    request: bool


@dataclass(slots=True)
class _Line:
    """What one key holds and waits for.

    `finish` is the virtual time at which its last place is paid for, `left` the time at which it gave a place back.
    `requests` are the waits among `waiting` for the first place of a request; both are in the order of coming.
    """

    weight: int
    finish: float = 0.0
    left: float = -math.inf
    used: int = 0
    waiting: OrderedDict[_Waiting, None] = field(default_factory=OrderedDict)
    requests: OrderedDict[_Waiting, None] = field(default_factory=OrderedDict)

    def active(self, now: float) -> bool:
        """Whether the key holds a place, waits for one, or gave one back in the last second."""
        return bool(self.used or self.waiting) or now - self.left < _AWAY_S

    def join(self, waiting: _Waiting) -> None:
        """Wait behind all others."""
        self.waiting[waiting] = None
        if waiting.request:
            self.requests[waiting] = None

    def leave(self, waiting: _Waiting) -> None:
        """Wait no longer. A request that hangs up leaves by the hundred: this costs the same in any line."""
        del self.waiting[waiting]
        self.requests.pop(waiting, None)


class Ticket:
    """An admitted request. It has its first place already and waits for every further one."""

    def __init__(self, gate: Gate, caller: Caller, cost: int) -> None:
        self._gate = gate
        self._caller = caller
        self._cost = cost
        self._first = True

    @property
    def places(self) -> int:
        """How many places a request can hold at once: more of its sequences need not wait for one."""
        return self._gate.running

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one place while a sequence is drawn."""
        if self._first:
            self._first = False
        else:
            await self._gate.take(self._caller, self._cost, request=False)
        try:
            yield
        finally:
            self._gate.free(self._caller)

    def leave(self) -> None:
        """Give the first place back if it was not used."""
        if self._first:
            self._first = False
            self._gate.free(self._caller)


class Gate:
    """At most `running` sequences in the engines, and `queued` requests that wait for their first place.

    No key can keep the others out. While others are active, a key takes no more than its fair share, though places stay
    free: what runs beside them slows every step of the engine. A key that holds less than half its share may have
    places of a reserve, half as many again, at once. When the queue is full, the newest request of the key with the
    longest line (by weight) gives way.
    """

    def __init__(self, running: int, queued: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.running = running
        self.queued = queued
        self.reserve = running // 2
        self._lines: dict[str, _Line] = {}
        self._used = 0
        self._inside = 0
        self._virtual = 0.0
        self._closed = False
        self._clock = clock
        self._next_look: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return sum(len(line.requests) for line in self._lines.values())

    @property
    def used(self) -> int:
        """Sequences that run."""
        return self._used

    @property
    def closed(self) -> bool:
        """Whether the gate refuses new requests."""
        return self._closed

    def require_open(self) -> None:
        """Unavailable when the server drains."""
        if self._closed:
            raise Unavailable("the server is shutting down", code="draining", retry_after_s=5)

    def require_room(self, caller: Caller) -> None:
        """Unavailable when the server drains, or the queue is full and no other key has a longer line."""
        self.require_open()
        if self.depth >= self.queued and not self._may_take(caller) and self._longest(caller) == caller.key:
            raise self._full()

    @asynccontextmanager
    async def enter(self, caller: Caller, cost: int) -> AsyncIterator[Ticket]:
        """Wait for a first place; `cost` is the tokens that each place asks for. Unavailable as `require_room`."""
        self.require_room(caller)
        self._inside += 1
        self._idle.clear()
        try:
            await self.take(caller, cost, request=True)
            ticket = Ticket(self, caller, cost)
            try:
                yield ticket
            finally:
                ticket.leave()
        finally:
            self._inside -= 1
            if not self._inside:
                self._idle.set()

    async def take(self, caller: Caller, cost: int, *, request: bool) -> None:
        """Take a place when it is this key's turn."""
        line = self._lines.setdefault(caller.key, _Line(caller.weight))
        line.weight = caller.weight  # the key file may have changed it
        if not line.waiting and self._may_take(caller):
            self._grant(line, cost)
            return
        if request and self.depth >= self.queued:
            self._push_out(self._longest(caller))
        waiting = _Waiting(cost, asyncio.get_running_loop().create_future(), request)
        line.join(waiting)
        self._look_again_later()
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting in line.waiting:
                line.leave(waiting)
            elif not waiting.turn.cancelled() and waiting.turn.exception() is None:  # it has a place already
                self.free(caller)
            raise

    def free(self, caller: Caller) -> None:
        """Give one place back; the next waiting one gets it at once."""
        line = self._lines[caller.key]
        self._used -= 1
        line.used -= 1
        line.left = self._clock()
        self._advance()

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new requests and wait until all admitted ones have left; False when some are still there."""
        self._closed = True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _may_take(self, caller: Caller) -> bool:
        """Whether there is a place within its share: one of all, or one of the reserve for a key below half of it."""
        line, now = self._lines.get(caller.key, _Line(caller.weight)), self._clock()
        others = sum(other.weight for key, other in self._lines.items() if key != caller.key and other.active(now))
        share = max(1, self.running * line.weight // (others + line.weight))
        if self._used < self.running:
            return line.used < share
        return self._used < self.running + self.reserve and line.used < max(1, share // 2) and others > 0

    def _look_again_later(self) -> None:
        """While any request waits, see four times a second whether a key that was away counts no more."""
        if self._next_look is None and any(line.waiting for line in self._lines.values()):
            self._next_look = asyncio.get_running_loop().call_later(_AWAY_S / 4, self._look_again)

    def _look_again(self) -> None:
        self._next_look = None
        self._advance()
        self._look_again_later()

    def _grant(self, line: _Line, cost: float) -> None:
        self._virtual = max(self._virtual, line.finish)
        line.finish = self._virtual + cost / line.weight
        line.used += 1
        self._used += 1

    def _advance(self) -> None:
        """Give free places to the lines, first to the key that has had the least."""
        while True:
            ready = [
                key for key, line in self._lines.items() if line.waiting and self._may_take(Caller(key, line.weight))
            ]
            if not ready:
                return
            line = self._lines[min(ready, key=lambda key: max(self._lines[key].finish, self._virtual))]
            waiting = next(iter(line.waiting))
            line.leave(waiting)
            if not waiting.turn.done():
                self._grant(line, waiting.cost)
                waiting.turn.set_result(None)

    def _longest(self, caller: Caller) -> str:
        """The key with the longest line for its weight if `caller` joined; among equals the caller's own."""
        lengths = {key: len(line.requests) / line.weight for key, line in self._lines.items()}
        lengths[caller.key] = lengths.get(caller.key, 0.0) + 1 / caller.weight
        return max(lengths, key=lambda key: (lengths[key], key == caller.key))

    def _push_out(self, key: str) -> None:
        """Refuse the newest request that waits in a line."""
        line = self._lines[key]
        if not line.requests:
            raise self._full()
        newest = next(reversed(line.requests))
        line.leave(newest)
        if not newest.turn.done():
            newest.turn.set_exception(self._full())

    def _full(self) -> Unavailable:
        return Unavailable(f"all {self.running} places are taken and {self.queued} requests wait", code="queue_full")
