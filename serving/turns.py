"""Turns for work that holds up the engines of this process: one piece at a time, with pauses while they are at work.

vLLM's engines stand still while another starts (docs/decisions/0071), and Python that works in a thread keeps the
interpreter's lock from them. Without the pauses, whoever asks for such work without end would leave them no time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

_LOOK_S: Final = 0.05


class Turns:
    """After a piece the next one waits `pause` times as long as it took, while `at_work` says that engines answer."""

    def __init__(self, pause: float, at_work: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._pause = pause
        self._at_work = at_work
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._paused_until = float("-inf")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold this while a piece is done."""
        async with self._one_at_a_time:
            while self._at_work() and (left := self._paused_until - self._clock()) > 0:  # noqa: ASYNC110 - or idle
                await asyncio.sleep(min(left, _LOOK_S))
            began = self._clock()
            try:
                yield
            finally:
                ended = self._clock()
                self._paused_until = ended + self._pause * (ended - began)
