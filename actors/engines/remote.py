"""An engine in a process of its own, which shares no interpreter with whoever asks it (docs/decisions/0204).

That process is forked from one that has imported the back end and does nothing else. So it starts as fast as an engine
in this process would, has the imported code in memory together with the others, and takes with it all that it has
allocated when it ends.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import socket
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from actors.config import EngineConfig
from actors.engines.host import host
from actors.engines.messages import Abort, Ask, Channel, Drawn, Failed, FromEngine, Started, ToEngine, Whole
from actors.engines.protocol import EngineDead, EngineTimeout, RequestRefused, TokenDelta
from actors.records import Completion, Sampling

_STOP_TIMEOUT_S: Final = 10.0
# What an engine on a CPU needs; vLLM itself imports the last two only while one starts, which takes most of a second.
# Nothing for a GPU: CUDA does not survive a fork, and no one has tried what these imports touch of it.
_PRELOADED: Final = {
    "torch": ["actors.engines.torch"],
    "vllm": [
        "actors.engines.vllm",
        "vllm.v1.worker.gpu_worker",  # the CPU's is made from it
        "vllm.model_executor.layers.quantization.online.base",
    ],
}
_ERRORS: Final = {kind.__name__: kind for kind in (RequestRefused, EngineTimeout, EngineDead)}

_forks: Final = multiprocessing.get_context("forkserver")


class RemoteEngine:
    """A `Sampler` in a process of its own. Make it with `await RemoteEngine.start(...)`; it belongs to that loop."""

    def __init__(self) -> None:
        self._channel: Channel[FromEngine, ToEngine] = Channel(FromEngine, self._hear)
        self._channel.ended.add_done_callback(lambda _: self._end("the process of the engine has ended"))
        self._process: BaseProcess | None = None
        self._names = itertools.count()
        self._open: dict[int, asyncio.Queue[FromEngine]] = {}
        self._started: asyncio.Queue[FromEngine] = asyncio.Queue()
        self._ended: str | None = None

    @classmethod
    async def start(cls, model_dir: Path, config: EngineConfig, weight_version: int = 0) -> RemoteEngine:
        """Start the configured back end on a transformers directory, in a process with the environment of this one.

        Raises EngineDead with the engine's own reason when it cannot start.
        """
        engine = cls()
        try:
            await engine._start(model_dir, config, weight_version)
        except BaseException:
            await engine.stop()
            raise
        return engine

    @property
    def ended(self) -> bool:
        """Whether the engine answers nothing any more: it was stopped, or its process has ended."""
        return self._ended is not None

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, index: int = 0) -> Completion:
        """One whole completion; see the protocol."""
        with self._asked(prompt_ids, sampling, index) as answers:
            answer = await answers.get()
        if isinstance(answer, Whole):
            return answer.completion
        raise _error(answer)

    async def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[TokenDelta, None]:
        """The completion as it is drawn; see the protocol."""
        with self._asked(prompt_ids, sampling, None) as answers:
            finished = False
            while not finished:
                answer = await answers.get()
                if not isinstance(answer, Drawn):
                    raise _error(answer)
                finished = answer.delta.finish_reason is not None
                yield answer.delta

    async def stop(self) -> None:
        """Fail the open requests and end the process; safe to call twice."""
        self._end("the engine was stopped")
        self._channel.close()
        if self._process is not None:
            await asyncio.to_thread(_join, self._process)

    async def _start(self, model_dir: Path, config: EngineConfig, weight_version: int) -> None:
        ours, theirs = socket.socketpair()
        await self._channel.open(ours)
        preloaded = _PRELOADED[config.backend] if config.device == "cpu" else []
        _forks.set_forkserver_preload(preloaded)  # read once, by the process that forks
        process = _forks.Process(target=host, args=(theirs, model_dir, config, weight_version), daemon=True)
        # A caller that leaves does not end the thread; the process ends by itself, as nobody holds our end then.
        self._process = await asyncio.to_thread(_fork, process, theirs)
        answer = await self._started.get()
        if not isinstance(answer, Started):
            raise _error(answer)

    @contextmanager
    def _asked(
        self, prompt_ids: Sequence[int], sampling: Sampling, index: int | None
    ) -> Iterator[asyncio.Queue[FromEngine]]:
        """The answers to a request, which is aborted if they are left before the last one."""
        if self._ended is not None:
            raise EngineDead(self._ended)
        name = next(self._names)
        answers = self._open[name] = asyncio.Queue()
        self._channel.say(Ask(name, tuple(prompt_ids), sampling, index))
        try:
            yield answers
        finally:
            if self._open.pop(name, None) is not None:
                self._channel.say(Abort(name))

    def _hear(self, message: FromEngine) -> None:
        if isinstance(message, Started) or message.name is None:
            self._started.put_nowait(message)
            return
        last = not isinstance(message, Drawn) or message.delta.finish_reason is not None
        answers = self._open.pop(message.name, None) if last else self._open.get(message.name)
        if answers is not None:
            answers.put_nowait(message)

    def _end(self, why: str) -> None:
        if self._ended is not None:
            return
        self._ended = why
        asked, self._open = self._open, {}
        for answers in (self._started, *asked.values()):
            answers.put_nowait(Failed(None, EngineDead.__name__, why))


def _fork(process: BaseProcess, end: socket.socket) -> BaseProcess:
    with end:  # the process has its own copy
        process.start()
    return process


def _join(process: BaseProcess) -> None:
    process.join(_STOP_TIMEOUT_S)
    if process.is_alive():
        process.kill()
        process.join(_STOP_TIMEOUT_S)


def _error(answer: FromEngine) -> Exception:
    assert isinstance(answer, Failed), answer
    return _ERRORS[answer.error](answer.message)
