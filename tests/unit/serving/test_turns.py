"""Work that holds up the engines leaves them most of the time."""

from __future__ import annotations

import asyncio

import pytest

from serving.turns import Turns

PAUSE = 3.0


class Scene:
    """A clock that only the test moves, and whether an engine is at work."""

    def __init__(self) -> None:
        self.now = 0.0
        self.busy = True
        self.turns = Turns(PAUSE, lambda: self.busy, lambda: self.now)

    async def work(self, seconds: float) -> None:
        async with self.turns.turn():
            self.now += seconds

    async def fail(self, seconds: float) -> None:
        async with self.turns.turn():
            self.now += seconds
            raise ZeroDivisionError


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_the_next_piece_waits_while_engines_are_at_work(scene: Scene):
    await scene.work(2.0)
    scene.now += 2.0 * PAUSE - 0.01
    second = asyncio.create_task(scene.work(1.0))
    await asyncio.sleep(0.2)
    assert not second.done()
    scene.now += 1.0
    await asyncio.wait_for(second, 5)


async def test_nothing_waits_where_no_engine_is_at_work(scene: Scene):
    await scene.work(2.0)
    second = asyncio.create_task(scene.work(1.0))
    await asyncio.sleep(0.2)
    assert not second.done()
    scene.busy = False
    await asyncio.wait_for(second, 5)


async def test_a_piece_that_fails_costs_a_pause_too(scene: Scene):
    with pytest.raises(ZeroDivisionError):
        await scene.fail(2.0)
    second = asyncio.create_task(scene.work(1.0))
    await asyncio.sleep(0.2)
    assert not second.done()
    second.cancel()
