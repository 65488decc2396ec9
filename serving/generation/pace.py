"""Long work on the event loop in short parts, so that requests and engines have their turn between them.

A thread would not do: what is written down is Python and pydantic, which hold the interpreter's lock, and an engine's
thread asks for that lock at every operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

PART_VALUES: Final = 512
"""Values that are written down at once: about half a millisecond of work."""
_REST_S: Final = 0.002


class Pace:
    """The event loop rests after each part of all long work that shares it."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._values = 0

    async def parts(self, items: Sequence[T], values: int) -> AsyncIterator[Sequence[T]]:
        """The items in slices; `values` are those of one item."""
        size = max(1, PART_VALUES // values)
        for start in range(0, len(items), size):
            part = items[start : start + size]
            yield part
            self._values += len(part) * values
            if self._values >= PART_VALUES:
                self._values = 0
                async with self._one_at_a_time:
                    await asyncio.sleep(_REST_S)
