"""The thread of the vLLM engine around an engine that fails as told: whoever waits is answered, and the place is freed.

Of vLLM only the modules are real; `test_engine.py` has an engine.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.engines.protocol import EngineDead, RequestRefused
from tests.tiny import ENGINE

pytestmark = pytest.mark.timeout(600)

WAIT_S = 20.0


@dataclass
class Output:
    """A last answer; `at_last` is called when it is looked at."""

    request_id: str
    at_last: Callable[[str], object]

    @property
    def finished(self) -> bool:
        self.at_last(self.request_id)
        return True


class FakeEngine:
    """What the thread needs of vLLM's engine. Refuses every request, or finishes it at the first step."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.at_last: Callable[[str], object] = lambda name: None
        self.open: list[str] = []
        self.engine_core = SimpleNamespace(shutdown=self.shut_down)
        self.is_shut_down = False

    def shut_down(self) -> None:
        self.is_shut_down = True

    def add_request(self, name: str, *_: object) -> None:
        if self.refuses:
            self.at_last(name)
            raise ValueError("too long")
        self.open.append(name)

    def abort_request(self, names: list[str]) -> None:
        self.open = [name for name in self.open if name not in names]

    def has_unfinished_requests(self) -> bool:
        return bool(self.open)

    def step(self) -> list[Output]:
        return [Output(self.open.pop(0), self.at_last)]


@pytest.fixture
def vllm(model_dir: Path) -> Any:
    """The module, imported once the environment is that of an engine's process."""
    from actors.engines import vllm

    return vllm


def driver_of(vllm: Any, engine: FakeEngine) -> Any:
    return vllm._Driver(lambda: (engine, "its shape"))


def ask(vllm: Any, driver: Any, name: str) -> asyncio.Future[Any]:
    """The first answer to a request."""
    loop = asyncio.get_running_loop()
    told = loop.create_future()
    driver.add(name, [1], None, vllm._Sink(loop, told.set_result))
    return told


async def ended(driver: Any) -> None:
    await asyncio.to_thread(driver.join, WAIT_S)
    assert not driver.is_alive()


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_request_may_be_aborted_while_its_last_answer_is_on_its_way(vllm: Any, refuses: bool) -> None:
    engine = FakeEngine(refuses)
    driver = driver_of(vllm, engine)
    assert await driver.open() == "its shape"
    engine.at_last = lambda name: name == "left" and driver.abort(name)
    ask(vllm, driver, "left")
    told = await asyncio.wait_for(ask(vllm, driver, "kept"), WAIT_S)
    assert isinstance(told, RequestRefused) if refuses else told.request_id == "kept"
    driver.close()
    await ended(driver)
    assert engine.is_shut_down


async def test_an_engine_that_fails_tells_everyone_who_waits_and_who_asks_later(vllm: Any) -> None:
    driver = driver_of(vllm, FakeEngine())
    await driver.open()
    go = threading.Event()

    def burn(_: object) -> None:
        go.wait(WAIT_S)
        raise MemoryError("burnt")

    calls = [driver.call(function) for function in (burn, id, id)]
    told = ask(vllm, driver, "waiting")
    go.set()
    for call in calls:
        with pytest.raises(EngineDead, match="burnt"):
            await asyncio.wait_for(asyncio.wrap_future(call), WAIT_S)
    assert "burnt" in str(await asyncio.wait_for(told, WAIT_S))
    await ended(driver)
    with pytest.raises(EngineDead, match="burnt"):
        ask(vllm, driver, "later")
    with pytest.raises(EngineDead, match="burnt"):
        driver.call(id).result(WAIT_S)


async def test_who_asks_at_the_moment_of_a_failure_is_told(vllm: Any) -> None:
    class Late(dict[str, Any]):
        """The engine fails, if it can, before a request is noted."""

        def __setitem__(self, name: str, sink: Any) -> None:
            go.set()
            driver.join(0.5)
            super().__setitem__(name, sink)

    go = threading.Event()
    driver = driver_of(vllm, FakeEngine())
    await driver.open()
    driver.sinks = Late()
    driver.call(lambda _: go.wait(WAIT_S) and 1 / 0)
    assert "division" in str(await asyncio.wait_for(ask(vllm, driver, "late"), WAIT_S))
    await ended(driver)


async def test_a_start_that_fails_frees_the_place_before_it_is_told(
    vllm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = FakeEngine()
    engine.set_weight_version = engine.vllm_config = lambda *_: None
    monkeypatch.setattr(vllm.LLMEngine, "from_engine_args", lambda _: engine)
    with pytest.raises(EngineDead, match="did not start: ValueError: Unrecognized model"):
        await vllm.VllmEngine.start(tmp_path, ENGINE)
    assert engine.is_shut_down
    assert not vllm._only_engine.locked()


async def test_a_start_that_is_left_ends_its_engine_and_frees_the_place(vllm: Any) -> None:
    begun, go, engine = threading.Event(), threading.Event(), FakeEngine()

    def slowly() -> tuple[FakeEngine, str]:
        begun.set()
        go.wait(WAIT_S)
        return engine, "its shape"

    driver = vllm._Driver(slowly)
    start = asyncio.create_task(driver.open())
    assert await asyncio.to_thread(begun.wait, WAIT_S)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    go.set()
    await ended(driver)
    assert engine.is_shut_down
    assert not vllm._only_engine.locked()
