"""Work that another call may end early: what Ctrl-C does to a stage that has no step to save after."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from verifier.errors import Failure

T = TypeVar("T")


class Interrupted(Failure):
    """The work was asked to end and did; what was saved before stays."""


class Interruptible:
    """Runs one coroutine at a time; after `interrupt` this one and every later one raises Interrupted."""

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
            self._work.cancel()  # nothing, unless whoever waits here is cancelled
        if self._work.cancelled() and self._interrupted:
            raise Interrupted("interrupted; the work so far is as saved")
        return self._work.result()

    def interrupt(self) -> None:
        """End what runs now, and let nothing begin."""
        self._interrupted = True
        if self._work is not None:
            self._work.cancel()
