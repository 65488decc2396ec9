"""Work that ends early: by Ctrl-C where a stage has no step to finish first, or by the loss of what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from verifier.errors import Failure

T = TypeVar("T")


class Interrupted(Failure):
    """The work ended because it was asked to; what was saved before is kept."""


async def unless(work: Coroutine[Any, Any, T], lost: Coroutine[Any, Any, None]) -> T:
    """The result of `work`, or the error that `lost` raises before it is there; whichever is left over is cancelled."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(lost)
    try:
        await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            watching.result()
        return await working
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


class Interruptible:
    """Runs one coroutine at a time; after `interrupt` it and every later one raise Interrupted."""

    def __init__(self) -> None:
        self._work: asyncio.Task[Any] | None = None
        self._interrupted = False

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. Raises Interrupted."""
        self._work = asyncio.ensure_future(work)
        if self._interrupted:
            self._work.cancel()
        try:
            await asyncio.wait([self._work])
        finally:
            self._work.cancel()  # does nothing, unless the caller is cancelled
        if self._work.cancelled() and self._interrupted:
            raise Interrupted("interrupted; the work so far is as saved")
        return self._work.result()

    def interrupt(self) -> None:
        """End the coroutine that runs, and let no other start."""
        self._interrupted = True
        if self._work is not None:
            self._work.cancel()
