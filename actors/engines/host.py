"""The process of one engine: it answers what `actors.engines.remote` asks over a socket, and ends with that socket.

It also ends when the engine hangs, so that whoever asks hears of it and starts another.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from actors.config import EngineConfig
from actors.engines.messages import Ask, Channel, Drawn, Failed, FromEngine, Started, ToEngine, Whole
from actors.engines.protocol import Engine, EngineDead, EngineError, start_engine

STALL_S: Final = 60.0
"""How long an engine may have requests and take no step."""


def host(end: socket.socket, model_dir: Path, config: EngineConfig, weight_version: int) -> None:
    """Start the engine and answer until the other end closes. The process needs `engine_env` from its start."""
    gc.freeze()  # the imported code stays: vLLM has everything looked at five times while it starts, a second in all
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # is for the process that asks, which may have answers to finish
    asyncio.run(_serve(end, model_dir, config, weight_version))


async def _serve(end: socket.socket, model_dir: Path, config: EngineConfig, weight_version: int) -> None:
    host = _Host()
    await host.channel.open(end)
    life = asyncio.create_task(host.live(model_dir, config, weight_version))
    await asyncio.wait({host.channel.ended, life}, return_when=asyncio.FIRST_COMPLETED)
    life.cancel()
    host.channel.close()


class _Host:
    """The engine, once it has started, and the requests that it has not yet answered."""

    def __init__(self) -> None:
        self.channel: Channel[ToEngine, FromEngine] = Channel(ToEngine, self._hear)
        self._open: dict[int, asyncio.Task[None]] = {}
        self._engine: Engine | None = None

    async def live(self, model_dir: Path, config: EngineConfig, weight_version: int) -> None:
        """Start the engine, and return when it did not start or hangs."""
        try:
            self._engine = await start_engine(model_dir, config, weight_version)
        except Exception as error:  # a checkpoint may make an engine raise anything
            self.channel.say(_failed(None, error))
            return
        self.channel.say(Started())
        await _hangs(self._engine)

    def _hear(self, message: ToEngine) -> None:
        if isinstance(message, Ask):
            task = self._open[message.name] = asyncio.create_task(self._answer(message))
            task.add_done_callback(lambda _: self._open.pop(message.name))
        elif (task := self._open.get(message.name)) is not None:
            task.cancel()

    async def _answer(self, ask: Ask) -> None:
        assert self._engine is not None, "asked before it has started"
        try:
            with suppress(asyncio.CancelledError):
                await (self._stream if ask.index is None else self._whole)(self._engine, ask)
        except Exception as error:
            self.channel.say(_failed(ask.name, error))

    async def _whole(self, engine: Engine, ask: Ask) -> None:
        self.channel.say(Whole(ask.name, await engine.generate(ask.prompt_ids, ask.sampling, ask.index or 0)))

    async def _stream(self, engine: Engine, ask: Ask) -> None:
        async with aclosing(engine.stream(ask.prompt_ids, ask.sampling)) as deltas:
            async for delta in deltas:
                self.channel.say(Drawn(ask.name, delta))


async def _hangs(engine: Engine) -> None:
    """Wait until two looks in a row find requests and the same number of steps."""
    seen: int | None = None
    while seen is None or not engine.open_requests or engine.progress != seen:
        seen = engine.progress if engine.open_requests else None
        await asyncio.sleep(STALL_S)
    print(f"the engine has taken no step in {STALL_S:g} s, with {engine.open_requests} requests: its process ends")


def _failed(name: int | None, error: Exception) -> Failed:
    known = error if isinstance(error, EngineError) else EngineDead(f"{type(error).__name__}: {error}")
    return Failed(name, type(known).__name__, str(known))
