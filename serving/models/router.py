"""From a requested name to an engine that answers: aliases that move only once their new target has proved itself.

A run that trains publishes checkpoints while requests come in. An alias keeps its old model until the new one is loaded
and has answered, so a broken checkpoint never fails a request for an alias. No HTTP here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from serving.http.errors import Busy
from serving.models.cache import EnginePool, Loaded
from serving.models.registry import Entry, Registry, Resolved


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

    @asynccontextmanager
    async def lease(self, name: str, caller: str) -> AsyncIterator[Route]:
        """The engine for `name`. Raises the errors of `Registry.find` and `EnginePool.lease`."""
        resolved = await self._brought(name, caller)
        async with self.pool.lease(resolved.entry) as loaded:
            if resolved.requested != resolved.entry.id:
                self._current[resolved.requested, resolved.side] = resolved.entry
            yield Route(resolved, loaded)

    def prepare(self, name: str) -> None:
        """Start to load what `name` means, without waiting for it."""
        self.pool.begin(self.registry.find(name))

    async def stop(self) -> None:
        """End the loads that are under way and every engine."""
        await self.pool.stop()

    async def _brought(self, name: str, caller: str) -> Resolved:
        """What `name` means now, in memory. The run's own aliases pass over checkpoints that do not load."""
        while True:
            await self.registry.refresh()
            resolved = self._settled(self.registry.resolve(name, caller))
            try:
                await self.pool.bring(resolved.entry)
            except Busy:
                if self._settled(self.registry.resolve(name, caller)).entry == resolved.entry:
                    raise
            else:
                return resolved

    def _settled(self, wanted: Resolved) -> Resolved:
        """`wanted`, or the model that answered for this alias until now while the new one is not in memory."""
        previous = self._current.get((wanted.requested, wanted.side))
        if wanted.side == "canary" and previous is None:
            previous = self._current.get((wanted.requested, "stable")) or self._current.get((wanted.requested, None))
        if previous is None or self.pool.peek(wanted.entry) or not self.pool.peek(previous):
            return wanted
        self.pool.begin(wanted.entry)
        return Resolved(wanted.requested, previous)
