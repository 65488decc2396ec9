"""The loaded checkpoints of this process: an LRU of engines with leases.

An engine in use is never evicted; a load happens once however many ask for it; what is loaded has had every byte
compared with its manifest and has answered a prompt before it takes any traffic. Engines and codecs come from a
factory, so this module knows neither vLLM nor Ray.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from actors.engines.protocol import Engine
from actors.policy.checkpoint import CheckpointError
from actors.records import Sampling
from serving.generation.codec import Codec
from serving.http.errors import Busy, NotFound, Unavailable
from serving.http.metrics import Metrics
from serving.models.registry import Entry

logger = logging.getLogger(__name__)
_PROBE_DEADLINE_S: Final = 30.0
_PROBE_PROMPT: Final = "<question> </question> <solution>"


class Factory(Protocol):
    """Makes what a checkpoint needs to answer."""

    @property
    def name(self) -> str:
        """The engine's name and version, as answers show it."""
        ...

    async def engine(self, entry: Entry) -> Engine:
        """A started engine that holds the checkpoint's weights."""
        ...

    def codec(self, entry: Entry) -> Codec:
        """The checkpoint's tokenizer. May block; is called in a thread."""
        ...


@dataclass(slots=True)
class Loaded:
    """A checkpoint that answers. `leases` counts the requests that use it now; `dead` asks for another engine."""

    entry: Entry
    engine: Engine
    codec: Codec
    dead: bool = False
    leases: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> None:
        """One more request uses it."""
        self.leases += 1
        self.idle.clear()

    def leave(self) -> None:
        """One request less."""
        self.leases -= 1
        if not self.leases:
            self.idle.set()


class EnginePool:
    """At most `capacity` engines; the least recently used idle one gives way.

    `pinned` tells at the time of asking which ids must stay. All methods belong to one event loop.
    """

    def __init__(
        self, factory: Factory, capacity: int, pinned: Callable[[], tuple[str, ...]], metrics: Metrics
    ) -> None:
        self.factory = factory
        self.capacity = capacity
        self._pinned = pinned
        self._metrics = metrics
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()  # least recently used first
        self._loading: dict[str, asyncio.Task[Loaded]] = {}
        self._starts = asyncio.Lock()  # one engine starts at a time: starting is what uses the memory and the cores

    @property
    def loaded(self) -> list[str]:
        """Ids in memory, least recently used first."""
        return list(self._loaded)

    def max_model_len(self, model: str) -> int | None:
        """Positions of a loaded model; None when it is not in memory."""
        held = self._loaded.get(model)
        return held.codec.max_positions if held else None

    def peek(self, entry: Entry) -> bool:
        """Whether `entry` is in memory with the weights that its manifest names."""
        held = self._loaded.get(entry.id)
        if held is None or held.dead:
            return False
        return held.entry.manifest.weight_hash == entry.manifest.weight_hash

    @asynccontextmanager
    async def lease(self, entry: Entry) -> AsyncIterator[Loaded]:
        """The engine of `entry`, loaded first if need be. NotFound, Busy or Unavailable say why there is none."""
        held = await self._get(entry)
        while self._loaded.get(entry.id) is not held:  # it gave way to another between its load and our turn
            held = await self._get(entry)
        held.take()
        try:
            yield held
        finally:
            held.leave()

    async def load(self, entry: Entry) -> None:
        """Bring `entry` into memory; the errors of `lease`."""
        await self._get(entry)

    async def unload(self, model: str) -> None:
        """Drop a model that nobody uses; Busy otherwise, NotFound when it is not in memory."""
        held = self._loaded.get(model)
        if held is None:
            raise NotFound(f"{model} is not loaded", param="model", code="not_loaded")
        if held.leases:
            raise Busy(f"{model} is answering {held.leases} requests; try again", param="model")
        await self._drop(model)

    async def stop(self) -> None:
        """Stop every engine; requests still in them end."""
        for task in self._loading.values():
            task.cancel()
        for held in self._loaded.values():
            await held.engine.stop()
        self._loaded.clear()

    async def _get(self, entry: Entry) -> Loaded:
        if self.peek(entry):
            self._loaded.move_to_end(entry.id)
            return self._loaded[entry.id]
        task = self._loading.get(entry.id)
        if task is None:
            task = asyncio.create_task(self._load(entry))
            self._loading[entry.id] = task
            task.add_done_callback(lambda _: self._loading.pop(entry.id, None))
        return await asyncio.shield(task)  # one caller that leaves does not end the load for the others

    async def _load(self, entry: Entry) -> Loaded:
        started = time.monotonic()
        async with self._starts:
            await asyncio.to_thread(_verify, entry)
            if entry.id in self._loaded:  # the same id with other weights: the run was redone
                await self._drop(entry.id)
            await self._make_room()
            held = await self._start(entry)
        self._loaded[entry.id] = held
        self._metrics.swaps.labels(result="ok").inc()
        self._metrics.loaded.set(len(self._loaded))
        logger.info("model_loaded", extra={"model": entry.id, "seconds": round(time.monotonic() - started, 3)})
        return held

    async def _start(self, entry: Entry) -> Loaded:
        engine: Engine | None = None
        try:
            codec = await asyncio.to_thread(self.factory.codec, entry)
            engine = await self.factory.engine(entry)
            await asyncio.wait_for(_answers(engine, codec), _PROBE_DEADLINE_S)
        except Exception as error:  # whatever a strange checkpoint makes the engine raise: the old ones keep serving
            self._metrics.swaps.labels(result="failed").inc()
            logger.warning("model_failed", extra={"model": entry.id, "reason": repr(error)})
            if engine is not None:
                await engine.stop()
            raise Busy(f"{entry.id} does not load: {error}", param="model", code="load_failed") from error
        return Loaded(entry, engine, codec)

    async def _make_room(self) -> None:
        """Let the least recently used model give way: at once when it is idle, else when its last request ends."""
        while len(self._loaded) >= self.capacity:
            pinned = self._pinned()
            candidates = [model for model in self._loaded if model not in pinned]
            if not candidates:
                raise Unavailable(f"all {self.capacity} engine places hold pinned models", code="all_pinned")
            idle = [model for model in candidates if not self._loaded[model].leases]
            await self._drop((idle or candidates)[0])

    async def _drop(self, model: str) -> None:
        """Take no new requests for a model, and stop its engine once the last one has left."""
        held = self._loaded.pop(model)
        self._metrics.loaded.set(len(self._loaded))
        if held.leases:
            await held.idle.wait()
        await held.engine.stop()


def _verify(entry: Entry) -> None:
    """Compare every byte with the manifest, and the manifest with the one that the caller was shown."""
    try:
        manifest = entry.store.get(entry.manifest.id)
    except CheckpointError as error:
        gone = not (entry.store.root / entry.manifest.id).is_dir()
        if gone:
            raise NotFound(f"{entry.id} has been deleted", param="model", code="model_not_found") from error
        raise Busy(f"{entry.id} is refused: {error}", param="model", code="checkpoint_invalid") from error
    if manifest.weight_hash != entry.manifest.weight_hash:
        raise Busy(f"{entry.id} was replaced while it was being loaded; try again", param="model")


async def _answers(engine: Engine, codec: Codec) -> None:
    """Prove that the engine writes a token."""
    prompt = codec.encode(_PROBE_PROMPT)
    completion = await engine.generate(prompt, Sampling(max_tokens=1, temperature=0.0))
    if len(completion.token_ids) != 1:
        raise RuntimeError("the engine wrote no token")
