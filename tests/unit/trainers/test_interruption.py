from __future__ import annotations

import asyncio

import pytest

from trainers.interruption import Interrupted, Interruptible, unless


async def test_what_runs_undisturbed_returns_its_result_or_error() -> None:
    async def fails() -> None:
        raise ValueError("own")

    work = Interruptible()
    assert await work.run(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ValueError, match="own"):
        await work.run(fails())


async def test_an_interruption_ends_what_runs_and_what_would_run_next() -> None:
    work = Interruptible()
    asyncio.get_running_loop().call_soon(work.interrupt)
    with pytest.raises(Interrupted):
        await work.run(asyncio.Event().wait())
    with pytest.raises(Interrupted):
        await work.run(asyncio.sleep(0))


async def test_whoever_cancels_the_waiting_cancels_the_work() -> None:
    cancelled = []

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    waiting = asyncio.create_task(Interruptible().run(long()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert cancelled == [True]


async def test_work_is_ended_by_the_loss_of_what_it_needs_and_not_by_that_of_what_it_needed() -> None:
    ended = []

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("work")
            raise

    async def lost(soon: float) -> None:
        try:
            await asyncio.sleep(soon)
        except asyncio.CancelledError:
            ended.append("watch")
            raise
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        await unless(long(), lost(0))
    assert ended == ["work"]
    assert await unless(asyncio.sleep(0, "done"), lost(60)) == "done"
    assert ended == ["work", "watch"]
    waiting = asyncio.create_task(unless(long(), lost(60)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == ["work", "watch", "work", "watch"]
