"""Blocking work in a thread, for callers that hold something while it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `function`. Whoever is cancelled waits until the thread has ended, and is cancelled then.

    A thread cannot be ended: a lock that is let go while it works admits a second one to what only one may touch.
    """
    thread = asyncio.create_task(run_in_threadpool(function, *args, **kwargs))
    cancelled: asyncio.CancelledError | None = None
    while not thread.done():
        try:
            await asyncio.wait({thread})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return thread.result()
    if not thread.cancelled():
        thread.exception()  # nobody is there to be told, and asyncio would log it
    raise cancelled
