"""What crosses between an engine and whoever asks it from another process, with both ends in this one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from actors.config import EngineConfig
from actors.engines import host, remote
from actors.engines.messages import Abort, Ask
from actors.engines.protocol import EngineDead, EngineError, EngineTimeout, RequestRefused, TokenDelta
from actors.engines.remote import RemoteEngine
from actors.records import Completion, Sampling

SAMPLING = Sampling(max_tokens=4)
CONFIG = EngineConfig(backend="torch")
WAIT_S = 60.0


@dataclass
class FakeEngine:
    """Writes one token a turn for ever, after the prompt (0,), unless it hangs; raises `error` after any other."""

    error: Exception = field(default_factory=lambda: RequestRefused("no"))
    open: int = 0
    progress: int = 0
    hangs: bool = False

    @property
    def open_requests(self) -> int:
        return self.open

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, index: int = 0) -> Completion:
        del sampling
        if len(prompt_ids) > 1:  # a long answer, at once
            return Completion(index, tuple(prompt_ids), (0.5,) * len(prompt_ids), "stop", 1, 1)
        async with aclosing(self.stream(prompt_ids, SAMPLING)) as deltas:
            await to_its_end(deltas)
        raise AssertionError("the stream has no end")

    async def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[TokenDelta, None]:
        del sampling
        if tuple(prompt_ids) != (0,):
            raise self.error
        self.open += 1
        try:
            while True:
                await asyncio.sleep(60 if self.hangs else 0)
                self.progress += 1
                yield TokenDelta((1,), (-1.0,), (), None, 1)
        finally:
            self.open -= 1


class Here:
    """In place of the process: the other end as a task of this loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: socket.socket) -> None:
        self.task = asyncio.run_coroutine_threadsafe(host._serve(end, Path(), CONFIG, 1), loop)

    def join(self, timeout: float) -> None:
        self.task.result(timeout)

    def is_alive(self) -> bool:
        return not self.task.done()


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    loop = asyncio.get_running_loop()
    engine = FakeEngine()

    async def start(*_: Any) -> FakeEngine:
        return engine

    monkeypatch.setattr(host, "start_engine", start)
    monkeypatch.setattr(remote, "_fork", lambda process, end: Here(loop, end))
    return engine


async def until_closed(fake: FakeEngine) -> None:
    async with asyncio.timeout(WAIT_S):
        while fake.open:  # noqa: ASYNC110 - the fake has no event for it
            await asyncio.sleep(0.001)


async def to_its_end(deltas: AsyncGenerator[TokenDelta, None]) -> None:
    async for _ in deltas:
        pass


async def test_who_leaves_a_stream_aborts_it_in_the_engine(fake: FakeEngine):
    engine = await RemoteEngine.start(Path(), CONFIG)
    async with aclosing(engine.stream((0,), SAMPLING)) as deltas:
        assert (await anext(deltas)).token_ids == (1,)
        assert fake.open == 1
    await until_closed(fake)
    await engine.stop()


async def test_who_leaves_a_whole_answer_aborts_it_in_the_engine(fake: FakeEngine):
    engine = await RemoteEngine.start(Path(), CONFIG)
    asked = asyncio.create_task(engine.generate((0,), SAMPLING))
    async with asyncio.timeout(WAIT_S):
        while not fake.open:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    asked.cancel()
    await until_closed(fake)
    await engine.stop()


async def test_a_request_that_is_aborted_before_it_began_is_forgotten():
    hosted = host._Host()
    hosted._hear(Ask(0, (0,), SAMPLING, 0))
    hosted._hear(Abort(0))  # read from the socket together
    async with asyncio.timeout(WAIT_S):
        while hosted._open:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("error", [RequestRefused("a"), EngineTimeout("b"), EngineDead("c")], ids=lambda e: str(e))
async def test_an_error_of_the_engine_arrives_as_what_it_is(fake: FakeEngine, error: EngineError):
    fake.error = error
    engine = await RemoteEngine.start(Path(), CONFIG)
    with pytest.raises(type(error), match=f"^{error}$"):
        await engine.generate((9,), SAMPLING)
    with pytest.raises(type(error), match=f"^{error}$"):
        await anext(engine.stream((9,), SAMPLING))
    await engine.stop()


async def test_any_other_error_means_an_engine_that_is_dead(fake: FakeEngine):
    fake.error = ZeroDivisionError("by none")
    engine = await RemoteEngine.start(Path(), CONFIG)
    with pytest.raises(EngineDead, match="ZeroDivisionError: by none"):
        await engine.generate((9,), SAMPLING)
    await engine.stop()


async def test_answers_of_any_length_arrive_whole_and_in_order(fake: FakeEngine):
    engine = await RemoteEngine.start(Path(), CONFIG)
    lengths = [2, 300_000, 3, 70_000, 2]
    answers = await asyncio.gather(*(engine.generate(range(n), SAMPLING, n) for n in lengths))
    assert [answer.index for answer in answers] == lengths
    assert [answer.token_ids == tuple(range(n)) for n, answer in zip(lengths, answers, strict=True)] == [True] * 5
    assert not fake.open
    await engine.stop()


async def test_who_leaves_while_an_engine_starts_leaves_no_process(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    begun, left, processes = asyncio.Event(), asyncio.Event(), []

    async def never(*_: Any) -> FakeEngine:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return fake

    fork = remote._fork
    monkeypatch.setattr(host, "start_engine", never)
    monkeypatch.setattr(remote, "_fork", lambda process, end: processes.append(fork(process, end)) or processes[-1])
    start = asyncio.create_task(RemoteEngine.start(Path(), CONFIG))
    await asyncio.wait_for(begun.wait(), WAIT_S)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await asyncio.wait_for(left.wait(), WAIT_S)
    async with asyncio.timeout(WAIT_S):
        while not processes or processes[0].is_alive():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_an_engine_that_hangs_is_dead(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(host, "STALL_S", 0.05)
    engine = await RemoteEngine.start(Path(), CONFIG)
    await asyncio.sleep(0.2)  # idle for longer than that
    async with aclosing(engine.stream((0,), SAMPLING)) as deltas:
        for _ in range(2000):  # at work for longer than that
            await anext(deltas)
        fake.hangs = True
        with pytest.raises(EngineDead, match="has ended"):
            await asyncio.wait_for(to_its_end(deltas), WAIT_S)
    await engine.stop()


@pytest.mark.parametrize(
    ("looks", "found"),
    [
        ([(0, 5), (0, 5), (0, 5)], None),  # nothing asked
        ([(0, 5), (1, 5), (0, 9), (1, 9)], None),  # asked just before a look
        ([(1, 5), (1, 6), (2, 7)], None),  # at work
        ([(1, 5), (0, 5), (0, 5)], None),  # who had asked has left
        ([(1, 5), (1, 5)], 2),
        ([(0, 5), (1, 5), (1, 6), (3, 6)], 4),
    ],
)
async def test_an_engine_hangs_that_has_requests_and_takes_no_step_between_two_looks(
    monkeypatch: pytest.MonkeyPatch, looks: list[tuple[int, int]], found: int | None
):
    left = list(looks)
    engine = Mock()
    engine.open_requests, engine.progress = left.pop(0)

    async def until_the_next_look(_: float) -> None:
        if not left:
            raise EOFError
        engine.open_requests, engine.progress = left.pop(0)

    monkeypatch.setattr(asyncio, "sleep", until_the_next_look)
    try:
        await host._hangs(engine)
    except EOFError:
        assert found is None
    else:
        assert len(looks) - len(left) == found
