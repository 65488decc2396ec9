"""What the served task's own code does, in a process of its own: it makes items, judges texts and plants errors.

That code may be the user's, or a symbolic checker that hangs on some texts, and a thread cannot be ended. The process
can: it is killed when it takes too long, and the next order starts another.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from serving.desk import Clerk, Desk
from serving.http.errors import ApiError, BadRequest, without_paths
from verifier.errors import UserError
from verifier.families import TaskConfig, open_task
from verifier.judgement import Judgement, TraceJudgement, checked
from verifier.recovery import Alternative, Planted, Plants, Unplanted
from verifier.task import Item, Stratum, Task, prompt_text

P = ParamSpec("P")
T = TypeVar("T")

START_S: Final = 60.0
ANSWER_S: Final = 10.0
_MAX_SAID = 500  # characters of what an exception of a task says


class TaskFailed(ApiError):
    """The served task's own code raised, hung, or gave what cannot be used."""

    status, type, code = 500, "server_error", "task_failed"


class TaskProcess:
    """One item, judgement or planted error at a time, as callers have their turns at `desk`; nobody else may use it.

    The process starts at the first.
    """

    def __init__(self, config: TaskConfig, desk: Desk, answer_s: float = ANSWER_S) -> None:
        self._config = config
        self._desk = desk
        self._answer_s = answer_s
        self._child: tuple[BaseProcess, Connection] | None = None

    async def item(self, stratum: Stratum, seed: int, clerk: Clerk) -> Item:
        """The held-out item of a stratum and a seed. Raises TaskFailed, and BadRequest where the family has none."""
        return await self._done(clerk, _made, stratum, seed)

    async def judge(self, item: Item, text: str, clerk: Clerk) -> Judgement:
        """The judgement of a text. Raises TaskFailed where the judge gives none."""
        return await self._done(clerk, _judged, item, text)

    async def plant(
        self, item: Item, trace: str, step: int, alternative: Alternative, seed: int, clerk: Clerk
    ) -> Planted | Unplanted:
        """An alternative at a step of a right trace, of a task that `Plants`. Raises TaskFailed."""
        return await self._done(clerk, _planted, item, trace, step, alternative, seed)

    async def judge_as_if(self, planted: Planted, text: str, clerk: Clerk) -> TraceJudgement | None:
        """The judgement of a text as if a planted error were true. Raises TaskFailed."""
        return await self._done(clerk, _judged_as_if, planted, text)

    def close(self) -> None:
        """End the process; safe to call twice."""
        if self._child is not None:
            process, connection = self._child
            self._child = None
            process.kill()
            process.join()
            connection.close()

    async def _done(self, clerk: Clerk, work: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` gives of the process's own task and these arguments."""
        return await clerk.at(self._desk).do(self._ask, work, args, kwargs)

    def _ask(self, *order: object) -> Any:
        connection = self._started()
        with suppress(OSError):  # it was killed just now: no answer will come
            connection.send(order)
        answer = self._received(connection, self._answer_s)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def _started(self) -> Connection:
        if self._child is not None and not self._child[0].is_alive():  # killed from outside, between two orders
            self.close()
        if self._child is None:
            context = multiprocessing.get_context("spawn")  # a fork would copy this process's threads
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._config), daemon=True)
            process.start()
            theirs.close()
            self._child = process, ours
            self._received(ours, START_S)
        return self._child[1]

    def _received(self, connection: Connection, within_s: float) -> object:
        if connection.poll(within_s):
            with suppress(EOFError, ConnectionError):
                return connection.recv()  # from our own process
            self.close()
            raise TaskFailed("the process of the task's own code died")
        self.close()
        raise TaskFailed(f"the task's own code gave nothing within {within_s:g} s and was ended")


def _serve(connection: Connection, config: TaskConfig) -> None:
    """The process: do what comes until the server has gone."""
    task = open_task(config)
    connection.send(None)
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            connection.send_bytes(_result(task, *connection.recv()))


def _result(task: Task, work: Callable[..., object], args: tuple[object], kwargs: dict[str, object]) -> memoryview:
    """What `work` gives, or the error that the client gets, as it is sent: an item may hold what cannot be."""
    try:
        return ForkingPickler.dumps(work(task, *args, **kwargs))
    except ApiError as error:
        return ForkingPickler.dumps(error)
    except (Exception, SystemExit) as error:
        return ForkingPickler.dumps(TaskFailed(f"the task's own code failed: {_said(error)}"))


def _said(error: BaseException) -> str:
    """What an exception of a task's own code says, for a client."""
    said = without_paths(f"{type(error).__name__}: {error}")[:_MAX_SAID]
    return said.encode(errors="backslashreplace").decode()


def _made(task: Task, stratum: Stratum, seed: int) -> Item:
    try:
        item = task.item(stratum, seed, 0, "test")
    except UserError as error:
        raise BadRequest(without_paths(str(error)), param="item") from error
    if not isinstance(item, Item):
        raise TypeError(f"item() gave {type(item).__name__}: return a verifier.task.Item")
    # What is no text, or holds half a character, can be neither asked nor shown.
    "".join((item.id, prompt_text(item.prompt), item.gold or "")).encode()
    return item


def _judged(task: Task, item: Item, text: str) -> Judgement:
    return checked(task.judge(item, text), text)


def _planted(
    task: Plants, item: Item, trace: str, step: int, alternative: Alternative, seed: int
) -> Planted | Unplanted:
    return task.plant(item, trace, step, alternative, seed)


def _judged_as_if(task: Plants, planted: Planted, text: str) -> TraceJudgement | None:
    judgement = task.judge_as_if(planted, text)
    assert judgement is None or isinstance(checked(judgement, text), TraceJudgement)
    return judgement
