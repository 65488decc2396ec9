"""The server's own work, in threads: making, drawing and judging problems, and reading what runs have kept.

It is Python, which holds the interpreter's lock that the event loop asks for too. So a desk does one piece at a time,
and keys have their turns fairly. A piece that has begun is done to its end, also when its client has gone; one that
waits is dropped then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, ParamSpec, TypeVar

from serving.http.admission import Caller, Gate
from serving.threads import in_thread

P = ParamSpec("P")
T = TypeVar("T")

QUEUED: Final = 64


class Desk:
    """One for each kind of work that is not to wait for another.

    Once the gate of the engines is closed, the desk takes no new requests either.
    """

    def __init__(self, engines: Gate) -> None:
        self._engines = engines
        self._gate = Gate(running=1, queued=QUEUED)

    async def begin(self, caller: Caller, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The first piece of a request. Unavailable when the server drains, and to the key that asks for most when too
        many wait.
        """
        self._engines.require_open()
        async with self._gate.enter(caller, 1):
            return await in_thread(function, *args, **kwargs)

    async def go_on(self, caller: Caller, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A further piece: it waits for its turn and is never refused."""
        await self._gate.take(caller, 1, request=False)
        try:
            return await in_thread(function, *args, **kwargs)
        finally:
            self._gate.free(caller)


@dataclass(frozen=True, slots=True)
class Clerk:
    """A desk for one caller. Who has been let in already, here or by the gate of the engines, is never refused."""

    desk: Desk
    caller: Caller
    let_in: bool = True

    async def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A piece of this caller's request."""
        done = self.desk.go_on if self.let_in else self.desk.begin
        return await done(self.caller, function, *args, **kwargs)

    def at(self, desk: Desk) -> Clerk:
        """The same caller at another desk."""
        return replace(self, desk=desk)
