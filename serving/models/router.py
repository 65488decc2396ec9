"""From a requested name to an engine that answers: aliases that move only once their new target has proved itself.

A run that trains publishes checkpoints while requests come in. An alias keeps its old model until the new one is loaded
and has answered, so a broken checkpoint never fails a request. No HTTP here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from serving.http.errors import ApiError
from serving.models.cache import EnginePool, Loaded
from serving.models.registry import Entry, Registry, Resolved

logger = logging.getLogger(__name__)
_RETRY_BROKEN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Route:
    """What a request was given: the meaning of its model name, and the engine that it holds."""

    resolved: Resolved
    loaded: Loaded


class Router:
    """Hands out engines by name."""

    def __init__(self, registry: Registry, pool: EnginePool) -> None:
        self.registry = registry
        self.pool = pool
        self._current: dict[tuple[str, str | None], Entry] = {}  # (alias, side) -> the model that last answered for it
        self._broken: dict[tuple[str, str], float] = {}  # (id, weight hash) -> when to try again
        self._background: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lease(self, name: str, caller: str) -> AsyncIterator[Route]:
        """The engine for `name`. Raises the errors of `Registry.find` and `EnginePool.lease`."""
        resolved = self._settled(self.registry.resolve(name, caller))
        async with self.pool.lease(resolved.entry) as loaded:
            if resolved.requested != resolved.entry.id:
                self._current[resolved.requested, resolved.side] = resolved.entry
            yield Route(resolved, loaded)

    def prepare(self, name: str) -> None:
        """Start to load what `name` means, without waiting for it."""
        self._load_behind(self.registry.find(name))

    async def stop(self) -> None:
        """End the loads that are under way and every engine."""
        for task in self._background:
            task.cancel()
        await self.pool.stop()

    def _settled(self, wanted: Resolved) -> Resolved:
        """`wanted`, or the model that answered for this alias until now while the new one is not in memory."""
        previous = self._current.get((wanted.requested, wanted.side))
        if wanted.side == "canary" and previous is None:
            previous = self._current.get((wanted.requested, "stable")) or self._current.get((wanted.requested, None))
        if previous is None or self.pool.peek(wanted.entry) or not self.pool.peek(previous):
            return wanted
        self._load_behind(wanted.entry)
        return Resolved(wanted.requested, previous, wanted.side if previous is wanted.entry else None)

    def _load_behind(self, entry: Entry) -> None:
        key = (entry.id, entry.manifest.weight_hash)
        if self._broken.get(key, 0.0) > time.monotonic():
            return
        self._broken[key] = time.monotonic() + _RETRY_BROKEN_S
        task = asyncio.create_task(self._load(entry))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _load(self, entry: Entry) -> None:
        try:
            await self.pool.load(entry)
        except ApiError as error:
            logger.warning("model_passed_over", extra={"model": entry.id, "reason": str(error)})
