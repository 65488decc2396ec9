"""The server's own work on problems: making, drawing and judging them, in threads.

It is Python, which holds the interpreter's lock, and an engine's thread asks for that lock at every operation. So one
piece is done at a time, keys have their turns fairly, and engines that are at work have time for themselves after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

from serving.http.admission import Caller, Gate
from serving.turns import Turns

P = ParamSpec("P")
T = TypeVar("T")

QUEUED: Final = 64
_PAUSE: Final = 1.0  # of a piece's length: such work takes half of the engines' time at most


class Desk:
    """One for all routes. `at_work` tells whether sequences are drawn now."""

    def __init__(self, at_work: Callable[[], bool]) -> None:
        self._gate = Gate(running=1, queued=QUEUED)
        self._turns = Turns(_PAUSE, at_work)

    async def begin(self, caller: Caller, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The first piece of a request. Unavailable when too many wait, to the key that asks for most."""
        async with self._gate.enter(caller, 1):
            return await self._done(function, *args, **kwargs)

    async def go_on(self, caller: Caller, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A further piece: it waits for its turn and is never refused."""
        await self._gate.take(caller, 1, request=False)
        try:
            return await self._done(function, *args, **kwargs)
        finally:
            self._gate.free(caller)

    async def _done(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._turns.turn():
            return await run_in_threadpool(function, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class Clerk:
    """The desk for one caller who has been let in."""

    desk: Desk
    caller: Caller

    async def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A further piece of this caller's request."""
        return await self.desk.go_on(self.caller, function, *args, **kwargs)
