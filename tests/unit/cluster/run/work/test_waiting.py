"""A wait for the controller ends with its work, with Ctrl-C, or when nobody answers any more."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from cluster.run.work import following
from cluster.run.work.following import follow
from trainers.interruption import Interrupted
from trainers.status import RunStatus


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_S", 0.01)
    monkeypatch.setattr(following, "ANSWER_S", 0.05)
    monkeypatch.setattr(following, "SILENT_S", 0.2)


async def _never() -> Any:
    await asyncio.Event().wait()


async def _status() -> RunStatus:
    return RunStatus("rl", 1, 60, {}, (), None)


def _followed(
    result: Future[str],
    stop: Callable[[], Awaitable[Any]],
    status: Callable[[], Awaitable[RunStatus]] = _status,
    interrupt: bool = True,
    note: Callable[[], object] = lambda: None,
) -> str:
    """The end of a wait in which Ctrl-C comes with the first status."""
    pressed = [] if interrupt else [True]

    def tell(at: RunStatus) -> None:
        if not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    controller = SimpleNamespace(status=SimpleNamespace(remote=status), stop=SimpleNamespace(remote=stop))
    return asyncio.run(follow(controller, SimpleNamespace(future=lambda: result), tell, note))


def test_an_interruption_is_noted_before_the_controller_is_asked() -> None:
    result: Future[str] = Future()
    told: list[str] = []

    async def stop() -> None:
        told.append("asked")
        result.set_result("saved")

    _followed(result, stop, note=lambda: told.append("noted"))
    assert told == ["noted", "asked"]


def test_ctrl_c_lets_the_controller_come_back() -> None:
    result: Future[str] = Future()

    async def stop() -> None:
        result.set_result("saved")

    assert _followed(result, stop) == "saved"


def test_work_that_was_asked_to_end_ends_the_command_as_ctrl_c_does() -> None:
    result: Future[str] = Future()

    async def stop() -> None:
        result.set_exception(Interrupted("ended"))

    with pytest.raises(KeyboardInterrupt):
        _followed(result, stop)


def test_ctrl_c_that_no_controller_takes_ends_the_wait() -> None:
    with pytest.raises(KeyboardInterrupt):
        _followed(Future(), _never)


def test_a_controller_that_dies_after_ctrl_c_is_not_missed() -> None:
    result: Future[str] = Future()

    async def stop() -> None:
        result.set_exception(ActorDiedError())

    with pytest.raises(KeyboardInterrupt):
        _followed(result, stop)


def test_a_controller_without_a_status_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        _followed(Future(), _never, status=_never, interrupt=False)
