"""Waits for a call on the run's controller: over its deaths, until the end or Ctrl-C, and names what went wrong."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.exceptions

from cluster.errors import StageFailed
from cluster.run.progress import Reporter
from cluster.run.workplace import Workplace
from trainers.status import RunStatus
from verifier.errors import Failure, UserError

POLL_S = 0.5
MAX_CONTROLLER_LOSSES = 3  # of a stage, without getting further between them


def drive(workplace: Workplace, report: Reporter, ask: Callable[[Any], Any]) -> Any:
    """The result of a call on the controller; if its process dies, of the same call on the next one.

    RL goes on from its last checkpoint then, an evaluation begins again. Raises StageFailed when it keeps dying and no
    controller gets further than one before it.
    """
    furthest = losses = 0

    def tell(at: RunStatus) -> None:
        nonlocal furthest, losses
        if at.done > furthest:
            furthest, losses = at.done, 0
        report.running(at)

    while True:
        controller = workplace.controller
        try:
            return asyncio.run(follow(controller, ask(controller), tell))
        except ray.exceptions.RayActorError as error:
            if isinstance(error, ray.exceptions.RayTaskError):  # the controller told of somebody else's death
                raise
            losses += 1
            if losses > MAX_CONTROLLER_LOSSES:
                raise StageFailed(
                    f"the run's controller died {losses} times and got no further than {furthest}: {error}"
                ) from error
            report.warn("the run's controller died and is started again; what it had saved is where it goes on")
            workplace.forget_controller()


async def follow(controller: Any, result: Any, tell: Callable[[RunStatus], None]) -> Any:
    """Wait for a call on the controller, telling its progress; on Ctrl-C let it save and come back.

    Raises StageFailed for what has a name.
    """
    waiting = asyncio.wrap_future(result.future())
    with on_interrupt(controller.stop.remote):
        while not waiting.done():
            await asyncio.wait([waiting], timeout=POLL_S)
            if not waiting.done():
                tell(await controller.status.remote())
    with naming_failures():
        return waiting.result()


@contextmanager
def on_interrupt(ask: Callable[[], Awaitable[Any]]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks for an orderly end; the second is as sudden as ever."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    asked: set[asyncio.Future[Any]] = set()

    def restore() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])

    def interrupted() -> None:
        restore()
        asked.add(asyncio.ensure_future(ask()))

    for number in numbers:
        loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        restore()


@contextmanager
def naming_failures() -> Iterator[None]:
    """Raise the error behind Ray's, where it has a root of ours; what nobody foresaw keeps its traceback.

    Raises StageFailed where the disk or the network refused.
    """
    try:
        yield
    except Exception as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if isinstance(cause, UserError | Failure):
            raise cause from error
        if isinstance(cause, OSError):
            raise StageFailed(str(cause)) from error
        raise
