"""Who may enter, and when: a token bucket per key and one bounded queue in front of the engines.

Pure asyncio and arithmetic; no HTTP. Refusals are immediate: nothing here waits except a place in the queue.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from serving.http.errors import TooManyRequests, Unavailable

_BUCKETS_KEPT: Final = 4096


class RateLimit:
    """`per_minute` requests on average and `burst` at once, for each key name."""

    def __init__(self, per_minute: int, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60.0
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> (tokens, time of that count)

    def take(self, name: str) -> None:
        """Spend one request of `name`; TooManyRequests tells when the next one is due."""
        now = self._clock()
        tokens, since = self._buckets.pop(name, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        self._buckets[name] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._buckets) > _BUCKETS_KEPT:
            self._buckets.popitem(last=False)
        if tokens < 1:
            wait_s = max(1, math.ceil((1 - tokens) / self._rate))
            raise TooManyRequests(f"rate limit of this key reached; try again in {wait_s} s", retry_after_s=wait_s)


@dataclass(slots=True)
class _Waiting:
    weight: int
    turn: asyncio.Future[None]


class Gate:
    """At most `running` sequences in the engines and `queued` requests waiting, first come, first served.

    A request weighs as many sequences as it asks for (at most all of them, so that the largest can pass).
    """

    def __init__(self, running: int, queued: int) -> None:
        self.running = running
        self.queued = queued
        self._used = 0
        self._line: deque[_Waiting] = deque()
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return len(self._line)

    @property
    def used(self) -> int:
        """Sequences that run."""
        return self._used

    def require_room(self) -> None:
        """Unavailable when the queue is full or the server drains: `enter` would refuse now."""
        if self._closed:
            raise Unavailable("the server is shutting down", code="draining", retry_after_s=5)
        if self._used >= self.running and len(self._line) >= self.queued:
            raise Unavailable(f"all {self.running} places are taken and {self.queued} requests wait", code="queue_full")

    @asynccontextmanager
    async def enter(self, sequences: int) -> AsyncIterator[None]:
        """Hold room for `sequences`; Unavailable at once when the queue is full or the server drains."""
        self.require_room()
        weight = min(max(1, sequences), self.running)
        if self._line or self._used + weight > self.running:
            await self._wait(weight)
        else:
            self._used += weight
            self._idle.clear()
        try:
            yield
        finally:
            self._used -= weight
            self._advance()

    async def _wait(self, weight: int) -> None:
        if len(self._line) >= self.queued:
            raise Unavailable(f"all {self.running} places are taken and {self.queued} requests wait", code="queue_full")
        waiting = _Waiting(weight, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting in self._line:
                self._line.remove(waiting)
            elif not waiting.turn.cancelled():  # its turn came in the same moment: hand the room on
                self._used -= weight
            self._advance()
            raise

    def _advance(self) -> None:
        while self._line and self._used + self._line[0].weight <= self.running:
            waiting = self._line.popleft()
            if not waiting.turn.done():
                self._used += waiting.weight
                waiting.turn.set_result(None)
        if self._used == 0 and not self._line:
            self._idle.set()
        else:
            self._idle.clear()

    async def drain(self, timeout_s: float) -> bool:
        """Refuse newcomers and wait until all that are in have left; False when some are still there."""
        self._closed = True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    @property
    def closed(self) -> bool:
        """Whether the gate refuses newcomers."""
        return self._closed
