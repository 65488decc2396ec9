"""A thread's caller that is cancelled lets go of what it holds only when the thread has ended."""

from __future__ import annotations

import asyncio
import threading

import pytest

from serving.threads import in_thread


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_results_and_errors_come_as_they_are():
    assert await in_thread(pow, 2, 5, mod=7) == 4
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_lock_stays_held_until_the_thread_has_ended_however_often_its_caller_is_cancelled(
    fails: bool, times: int, caplog: pytest.LogCaptureFixture
):
    lock, begun, go = asyncio.Lock(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go.wait(60)
        if fails:
            raise ZeroDivisionError

    async def hold() -> None:
        async with lock:
            await in_thread(work)

    holder = asyncio.create_task(hold())
    await asyncio.to_thread(begun.wait, 60)
    for _ in range(times):
        holder.cancel()
        await settle()
        assert lock.locked()
        assert not holder.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await holder
    assert not lock.locked()
    assert "never retrieved" not in caplog.text
