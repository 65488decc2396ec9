"""The loaded checkpoints of this process: an LRU of engines with leases.

A new engine starts beside those in memory, from a private copy whose every byte was compared with the manifest, and
answers a prompt; only then does another give way to it (docs/decisions/0094). So memory has to hold one engine more
than `capacity` while one starts. A checkpoint that does not load fails only the requests for it, and is tried once a
minute. An engine in use is never stopped; concurrent requests share one load. Engines and codecs come from a factory,
so this module knows neither vLLM nor Ray.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from actors.engines.protocol import Sampler
from actors.policy.checkpoint import CheckpointError
from actors.records import Sampling
from serving.encoding.codec import Codec
from serving.http.errors import ApiError, Busy, NotFound, Unavailable, without_paths
from serving.http.metrics import Metrics
from serving.models.registry import Entry

logger = logging.getLogger(__name__)
REFUSED_S: Final = 60.0
"""How long a checkpoint that did not load is refused without another try."""
_START_DEADLINE_S: Final = 600.0
_FIRST_TOKEN_DEADLINE_S: Final = 30.0
_FIRST_PROMPT: Final = "<question> </question> <solution>"


class ServedEngine(Sampler, Protocol):
    """A sampler with a process of its own, which may end while nobody asks it anything."""

    @property
    def ended(self) -> bool:
        """Whether it answers nothing any more."""
        ...


class Factory(Protocol):
    """Makes what a checkpoint needs to answer."""

    @property
    def name(self) -> str:
        """The engine's name and version, as answers show it."""
        ...

    async def engine(self, entry: Entry, directory: Path) -> ServedEngine:
        """A started engine that holds the checkpoint's weights, from the copy in `directory`, deleted afterwards."""
        ...

    def codec(self, entry: Entry, directory: Path) -> Codec:
        """The checkpoint's tokenizer, from the same copy. May block; is called in a thread."""
        ...


@dataclass(slots=True)
class Loaded:
    """A checkpoint that answers. `leases` counts the requests that use it now; `failed` says that one met a fault."""

    entry: Entry
    engine: ServedEngine
    codec: Codec
    failed: bool = False
    leases: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def dead(self) -> bool:
        """Whether the next request needs another engine."""
        return self.failed or self.engine.ended

    def take(self) -> None:
        """One more request uses it."""
        self.leases += 1
        self.idle.clear()

    def leave(self) -> None:
        """One request less."""
        self.leases -= 1
        if not self.leases:
            self.idle.set()

    async def stop(self) -> None:
        """Free the engine and the tokenizer."""
        await self.codec.stop()
        await self.engine.stop()


class EnginePool:
    """At most `capacity` engines that take requests; the least recently used idle one gives way.

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
        self._loading: dict[tuple[str, str], asyncio.Task[Loaded]] = {}  # by id and weight hash
        self._leaving: dict[asyncio.Task[None], Loaded] = {}  # take no new requests; stop after their last one
        self._refused: dict[tuple[str, str], _Refusal] = {}  # by id and weight hash
        self._one_start = asyncio.Lock()  # at a time: memory holds one engine more than `capacity`, not two

    @property
    def loaded(self) -> list[str]:
        """Ids of the models that answer, least recently used first."""
        return [model for model, held in self._loaded.items() if not held.dead]

    def max_model_len(self, model: str) -> int | None:
        """Positions of a loaded model; None when it is not in memory."""
        held = self._loaded.get(model)
        return held.codec.max_positions if held and not held.dead else None

    def peek(self, entry: Entry) -> bool:
        """Whether `entry` is in memory with the weights that its manifest names."""
        held = self._loaded.get(entry.id)
        if held is None or held.dead:
            return False
        return held.entry.manifest.weight_hash == entry.manifest.weight_hash

    def refused(self, entry: Entry) -> bool:
        """Whether `entry` failed to load within the last minute."""
        refusal = self._refused.get(_key(entry))
        return refusal is not None and refusal.until > time.monotonic()

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

    async def bring(self, entry: Entry) -> None:
        """Load `entry` into memory. Raises the errors of `lease`."""
        await self._get(entry)

    async def load(self, entry: Entry) -> None:
        """Like `bring`, but tries again what failed recently."""
        self._refused.pop(_key(entry), None)
        await self._get(entry)

    def begin(self, entry: Entry) -> None:
        """Start to load `entry` without waiting for it, unless it is in memory or has failed lately."""
        if not self.peek(entry) and not self.refused(entry):
            self._load_task(entry)

    async def unload(self, model: str) -> None:
        """Drop a model that nobody uses; Busy otherwise, NotFound when it is not in memory."""
        held = self._loaded.get(model)
        if held is None:
            raise NotFound(f"{model} is not loaded", param="model", code="not_loaded")
        if held.leases:
            raise Busy(f"{model} is answering {held.leases} requests; try again", param="model")
        await asyncio.shield(self._dismiss(model))  # an admin who hangs up does not leave half an engine

    async def stop(self) -> None:
        """Stop every engine; requests still in them end."""
        for task in (*self._loading.values(), *self._leaving):
            task.cancel()
        for held in (*self._leaving.values(), *self._loaded.values()):
            await held.stop()
        self._loaded.clear()

    async def _get(self, entry: Entry) -> Loaded:
        if self.peek(entry):
            self._loaded.move_to_end(entry.id)
            return self._loaded[entry.id]
        if self.refused(entry):
            refusal = self._refused[_key(entry)]
            raise Busy(refusal.message, param="model", code=refusal.code)
        return await asyncio.shield(self._load_task(entry))  # one caller that leaves does not end it for the others

    def _load_task(self, entry: Entry) -> asyncio.Task[Loaded]:
        task = self._loading.get(_key(entry))
        if task is None:
            task = asyncio.create_task(self._load(entry))
            self._loading[_key(entry)] = task
            task.add_done_callback(lambda done: self._load_ended(entry, done))
        return task

    def _load_ended(self, entry: Entry, task: asyncio.Task[Loaded]) -> None:
        self._loading.pop(_key(entry), None)
        if task.cancelled() or not (error := task.exception()):
            return
        logger.warning("model_failed", extra={"model": entry.id, "reason": str(error)})
        if isinstance(error, Busy) and error.own_code in _LASTING:
            self._refused[_key(entry)] = _Refusal(str(error), error.own_code, time.monotonic() + REFUSED_S)

    async def _load(self, entry: Entry) -> Loaded:
        started = time.monotonic()
        async with self._one_start:
            for model in [model for model, held in self._loaded.items() if held.dead]:
                self._dismiss(model)
            if self._leaving:
                await asyncio.wait(self._leaving)
            self._require_place(entry.id)
            held = await self._start(entry)
            self._switch(held)
        self._metrics.swaps.labels(result="ok").inc()
        logger.info("model_loaded", extra={"model": entry.id, "seconds": round(time.monotonic() - started, 3)})
        return held

    async def _start(self, entry: Entry) -> Loaded:
        """A new engine that has answered, from a copy that is deleted before this returns."""
        folder = Path(tempfile.mkdtemp(prefix="interplay-load-"))  # its owner's alone
        try:
            async with asyncio.timeout(_START_DEADLINE_S):
                await asyncio.to_thread(_copy, entry, folder)
                return await self._prove(entry, folder)
        except ApiError:
            self._metrics.swaps.labels(result="failed").inc()
            raise
        except Exception as error:  # an engine may raise anything on a bad checkpoint; the old engines keep serving
            self._metrics.swaps.labels(result="failed").inc()
            reason = without_paths(str(error) or type(error).__name__, folder, entry.store.root)
            raise Busy(f"{entry.id} does not load: {reason}", param="model", code="load_failed") from error
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _prove(self, entry: Entry, folder: Path) -> Loaded:
        codec = await asyncio.to_thread(self.factory.codec, entry, folder)
        engine = await self.factory.engine(entry, folder)
        try:
            await asyncio.wait_for(_answers(engine, codec), _FIRST_TOKEN_DEADLINE_S)
        except BaseException:
            await codec.stop()
            await engine.stop()
            raise
        return Loaded(entry, engine, codec)

    def _switch(self, held: Loaded) -> None:
        """Let a proved engine answer for its id; the engine that gives way takes no new requests from now on."""
        model = held.entry.id
        if model in self._loaded:  # the same id with other weights: the run was redone
            self._dismiss(model)
        self._loaded[model] = held
        while len(self._loaded) > self.capacity and (others := self._candidates(model)):
            idle = [other for other in others if not self._loaded[other].leases]
            self._dismiss((idle or others)[0])

    def _require_place(self, model: str) -> None:
        others = len([other for other in self._loaded if other != model])
        if others >= self.capacity and not self._candidates(model):
            raise Unavailable(f"all {self.capacity} engine places hold pinned models", code="all_pinned")

    def _candidates(self, model: str) -> list[str]:
        """The models that may give way to `model`, least recently used first."""
        pinned = self._pinned()
        return [other for other in self._loaded if other != model and other not in pinned]

    def _dismiss(self, model: str) -> asyncio.Task[None]:
        """Take no new requests for a model from now on; the task ends when its engine has stopped."""
        held = self._loaded.pop(model)
        task = asyncio.create_task(_stop_when_idle(held))
        self._leaving[task] = held
        task.add_done_callback(lambda done: self._leaving.pop(done, None))
        return task


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a checkpoint did not load, and until when (monotonic seconds) nobody tries again."""

    message: str
    code: str
    until: float


_LASTING: Final = ("load_failed", "checkpoint_invalid")


def _key(entry: Entry) -> tuple[str, str]:
    return entry.id, entry.manifest.weight_hash


async def _stop_when_idle(held: Loaded) -> None:
    if held.leases:
        await held.idle.wait()
    await held.stop()


def _copy(entry: Entry, folder: Path) -> None:
    """Copy the checkpoint, comparing every byte with the manifest, and the manifest with the one of the listing."""
    try:
        manifest = entry.store.copy_to(entry.manifest.id, folder)
    except CheckpointError as error:
        gone = not (entry.store.root / entry.manifest.id).is_dir()
        if gone:
            raise NotFound(f"{entry.id} has been deleted", param="model", code="model_not_found") from error
        raise Busy(f"{entry.id} is refused: {error}", param="model", code="checkpoint_invalid") from error
    if manifest.weight_hash != entry.manifest.weight_hash:
        raise Busy(f"{entry.id} was replaced while it was being loaded; try again", param="model")


async def _answers(engine: ServedEngine, codec: Codec) -> None:
    """Prove that the engine writes a token."""
    prompt = await codec.encode(_FIRST_PROMPT)
    completion = await engine.generate(prompt, Sampling(max_tokens=1, temperature=0.0))
    if len(completion.token_ids) != 1:
        raise RuntimeError("the engine wrote no token")
