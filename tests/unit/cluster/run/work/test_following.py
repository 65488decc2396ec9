"""A stage outlives its controllers as long as they get further."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError

from cluster.errors import StageFailed
from cluster.run.work import following
from cluster.run.work.following import drive
from cluster.run.work.progress import Reporter
from cluster.run.work.workplace import Workplace
from trainers.deaths import MAX_DEATHS
from trainers.status import RunStatus


class _Controllers:
    """A workplace whose n-th controller gets to the n-th number of steps and dies; the last one returns."""

    folder = SimpleNamespace(path=Path("nowhere"))

    def __init__(self, reaches: list[int], end: str | None) -> None:
        self.lives = iter(reaches)
        self.end = end
        self.forget_controller()

    def forget_controller(self) -> None:
        self.result: Future[str] = Future()
        self.reach = next(self.lives, None)

    @property
    def controller(self) -> Any:
        if self.reach is None:
            self.result.set_result(cast("str", self.end))
        return SimpleNamespace(
            status=SimpleNamespace(remote=self._status),
            stop=SimpleNamespace(remote=self._status),
            work=lambda: SimpleNamespace(future=lambda: self.result),
        )

    async def _status(self) -> RunStatus:
        assert self.reach is not None
        asyncio.get_running_loop().call_soon(self.result.set_exception, ActorDiedError())
        return RunStatus("rl", self.reach, 60, {}, (), None)


def _run(reaches: list[int]) -> Any:
    return drive(cast("Workplace", _Controllers(reaches, "done")), Reporter("demo"), lambda c: c.work())


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_S", 0.01)


def test_deaths_with_progress_between_them_do_not_end_a_stage() -> None:
    assert _run(list(range(1, 3 * MAX_DEATHS))) == "done"


def test_a_controller_that_keeps_dying_at_one_place_ends_the_stage() -> None:
    with pytest.raises(StageFailed, match=f"died {MAX_DEATHS + 1} times and got no further than 5"):
        _run([5, *[5] * MAX_DEATHS])
    assert _run([5, *[4] * (MAX_DEATHS - 1)]) == "done"
