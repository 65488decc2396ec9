"""Waits for work that a person may interrupt: a call on the run's controller, or a stage in this process.

Every wait ends: with the work, with Ctrl-C, or because the controller no longer answers.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import ray.exceptions

from cluster.errors import StageFailed
from cluster.run.lock import note_stop
from cluster.run.work.progress import Reporter
from cluster.run.work.workplace import Workplace
from trainers.deaths import MAX_DEATHS, DeathLimit
from trainers.interruption import Interrupted
from trainers.status import RunStatus
from verifier.errors import Failure, UserError

POLL_S: Final = 0.5
ANSWER_S: Final = 30.0
"""Time within which a request to stop must be accepted; after it the work ends without saving."""
SILENT_S: Final = 300.0
"""A controller that gives no status for this long counts as lost."""


def drive(workplace: Workplace, report: Reporter, ask: Callable[[Any], Any]) -> Any:
    """The result of a call on the controller; if its process dies, the call is repeated on a new one.

    RL then continues from its last checkpoint, and an evaluation with the problems that are left. Raises StageFailed
    when the process keeps dying without progress.
    """
    deaths = DeathLimit(MAX_DEATHS)

    def tell(at: RunStatus) -> None:
        deaths.reached(at.done)
        report.running(at)

    while True:
        controller = workplace.controller
        try:
            return asyncio.run(follow(controller, ask(controller), tell, partial(note_stop, workplace.folder.path)))
        except (ray.exceptions.RayActorError, TimeoutError) as error:
            if isinstance(error, ray.exceptions.RayTaskError):  # the call failed because another actor died
                raise
            if deaths.one_too_many():
                died = f"died {deaths.deaths} times and got no further than {deaths.furthest}"
                raise StageFailed(f"the run's controller {died}: {error}") from error
            report.warn("the run's controller died and is started again; it continues from what was saved")
            workplace.forget_controller()


@contextmanager
def naming_failures() -> Iterator[None]:
    """Raise the cause of Ray's error if it is one of our errors; any other error keeps its traceback.

    Raises StageFailed for errors of the disk or the network, and KeyboardInterrupt for work that was asked to end.
    """
    try:
        yield
    except Exception as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if isinstance(cause, Interrupted):
            raise KeyboardInterrupt from error
        if isinstance(cause, UserError | Failure):
            raise cause from error
        if isinstance(cause, OSError):
            raise StageFailed(str(cause)) from error
        raise


async def follow(
    controller: Any, result: Any, tell: Callable[[RunStatus], None], note: Callable[[], object] = lambda: None
) -> Any:
    """Wait for a call on the controller and pass on its progress; on Ctrl-C note it, and let it save and return.

    Raises the errors of `naming_failures`, and TimeoutError when the controller gives no status for SILENT_S.
    """
    waiting = asyncio.wrap_future(result.future())
    with on_interrupt(controller.stop.remote, note) as asked:
        try:
            while not waiting.done():
                await asyncio.wait([waiting], timeout=POLL_S)
                if not waiting.done():
                    async with asyncio.timeout(SILENT_S):
                        tell(await controller.status.remote())
            with naming_failures():
                return waiting.result()
        except (ray.exceptions.RayActorError, TimeoutError) as error:
            if asked:  # it was asked to end, so its death is no failure
                raise KeyboardInterrupt from error
            raise


@contextmanager
def on_interrupt(ask: Callable[[], Awaitable[Any]], note: Callable[[], object]) -> Iterator[set[asyncio.Future[None]]]:
    """The first Ctrl-C or SIGTERM is noted and asks for an orderly end; the second has its usual effect.

    The first does too if `ask` is not answered within ANSWER_S. The yielded set is empty until the first.
    """
    loop, whole = asyncio.get_running_loop(), asyncio.current_task()
    assert whole is not None
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    asked: set[asyncio.Future[None]] = set()
    unheard = False

    def restore() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])

    async def ask_in_time() -> None:
        nonlocal unheard
        try:
            async with asyncio.timeout(ANSWER_S):
                await ask()
        except (TimeoutError, ray.exceptions.RayActorError):
            unheard = True
            whole.cancel()

    def interrupted() -> None:
        restore()
        note()
        asked.add(asyncio.ensure_future(ask_in_time()))

    for number in numbers:
        loop.add_signal_handler(number, interrupted)
    try:
        yield asked
    except asyncio.CancelledError:
        if not unheard:
            raise
        raise KeyboardInterrupt from None
    finally:
        restore()
