"""An engine in a process of its own: it writes what one in this process writes, and no process outlives its use."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from actors.engines.protocol import EngineDead, RequestRefused, Sampler, start_engine
from actors.engines.remote import RemoteEngine
from actors.records import Completion, Sampling
from tests.tiny import ENGINE, PROMPT, VOCAB

pytestmark = pytest.mark.timeout(600)

SAMPLING = Sampling(max_tokens=40, seed=7)
ENDS_S = 60.0


@pytest.fixture
async def engine(model_dir: Path) -> AsyncIterator[RemoteEngine]:
    engine = await RemoteEngine.start(model_dir, ENGINE, weight_version=3)
    yield engine
    await engine.stop()


def process_of(engine: RemoteEngine) -> psutil.Process:
    return psutil.Process(cast("Any", engine)._process.pid)


def ends(process: psutil.Process) -> bool:
    """Whether a process that is nobody's child here ends soon."""
    deadline, pause = time.monotonic() + ENDS_S, threading.Event()
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            pause.wait(0.05)
    return True


async def whole(engine: Sampler) -> list[Completion]:
    seeds = [dataclasses.replace(SAMPLING, seed=seed) for seed in range(12)]
    return await asyncio.gather(*(engine.generate(PROMPT, sampling, i) for i, sampling in enumerate(seeds)))


async def test_it_writes_what_an_engine_in_this_process_writes(engine: RemoteEngine, model_dir: Path) -> None:
    here = await start_engine(model_dir, ENGINE, weight_version=3)
    apart = await whole(engine)
    assert apart == await whole(here)
    asked = dataclasses.replace(SAMPLING, top_logprobs=4)
    async with aclosing(engine.stream(PROMPT, asked)) as ours, aclosing(here.stream(PROMPT, asked)) as theirs:
        deltas = [delta async for delta in ours]
        assert deltas == [delta async for delta in theirs]
    assert [len(delta.top_logprobs[0]) for delta in deltas] == [4] * 40
    await here.stop()


async def test_a_refusal_names_its_reason_and_costs_nothing_else(engine: RemoteEngine) -> None:
    with pytest.raises(RequestRefused, match=f"outside the vocabulary of {VOCAB}"):
        await engine.generate((VOCAB,), SAMPLING)
    assert (await engine.generate(PROMPT, SAMPLING)).finish_reason == "length"


async def test_a_process_that_is_killed_fails_what_is_open_and_what_comes_later(engine: RemoteEngine) -> None:
    long = dataclasses.replace(SAMPLING, max_tokens=400)
    async with aclosing(engine.stream(PROMPT, long)) as stream:
        await anext(stream)
        running = asyncio.create_task(engine.generate(PROMPT, long))
        await asyncio.sleep(0)
        process_of(engine).kill()
        with pytest.raises(EngineDead, match="process of the engine has ended"):
            async for _ in stream:
                pass
    with pytest.raises(EngineDead, match="process of the engine has ended"):
        await running
    with pytest.raises(EngineDead, match="process of the engine has ended"):
        await engine.generate(PROMPT, SAMPLING)
    assert engine.ended


async def test_stopping_fails_what_is_open_and_ends_the_process(engine: RemoteEngine) -> None:
    process = process_of(engine)
    running = asyncio.create_task(engine.generate(PROMPT, dataclasses.replace(SAMPLING, max_tokens=400)))
    await asyncio.sleep(0)
    await engine.stop()
    with pytest.raises(EngineDead, match="was stopped"):
        await running
    assert ends(process)


async def test_a_process_that_does_not_end_by_itself_is_killed(
    engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.engines.remote._STOP_TIMEOUT_S", 0.5)
    process = process_of(engine)
    process.suspend()
    await engine.stop()
    assert ends(process)


async def test_an_interrupt_from_the_keyboard_is_not_for_the_engine(engine: RemoteEngine) -> None:
    process_of(engine).send_signal(signal.SIGINT)
    assert (await engine.generate(PROMPT, SAMPLING)).finish_reason == "length"


async def test_an_engine_that_cannot_start_says_why_and_leaves_no_process(tmp_path: Path, model_dir: Path) -> None:
    with pytest.raises(EngineDead, match="did not start"):
        await RemoteEngine.start(tmp_path / "nowhere", ENGINE)
    (forks,) = [child for child in psutil.Process().children() if "forkserver" in " ".join(child.cmdline())]
    assert all(ends(engine) for engine in forks.children())


ORPHAN = """
import asyncio, os, sys, signal
from pathlib import Path
from actors.config import EngineConfig
from actors.engines.remote import RemoteEngine

async def main():
    engine = await RemoteEngine.start(Path(sys.argv[1]), EngineConfig(backend="torch"))
    print(engine._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_an_engine_ends_with_the_process_that_asks_it(tmp_path: Path, model_dir: Path) -> None:
    script = tmp_path / "asks.py"
    script.write_text(ORPHAN)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    asked = subprocess.run([sys.executable, script, model_dir], stdout=subprocess.PIPE, env=env, text=True)
    assert asked.returncode == -signal.SIGKILL
    try:
        process = psutil.Process(int(asked.stdout))
    except psutil.NoSuchProcess:
        return
    assert ends(process)
