"""Long work on the event loop in short parts, so that other requests have their turn between them.

A thread would not do: what is written down is Python and pydantic, which hold the interpreter's lock, and the event
loop asks for that lock too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

PART_VALUES: Final = 512
"""Values that are written down at once: about half a millisecond of work."""


class Pace:
    """The event loop goes round before each part of all long work that shares it."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()

    async def parts(self, items: Sequence[T], values: int) -> AsyncIterator[Sequence[T]]:
        """The items in slices; `values` are those of one item."""
        size = max(1, PART_VALUES // values)
        for start in range(0, len(items), size):
            async with self._one_at_a_time:
                await asyncio.sleep(0)
            yield items[start : start + size]
