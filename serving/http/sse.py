"""Work for a client: streamed after the handler has returned, or awaited whole; both end when the client leaves.

Both run the work in one task, watch the connection, keep the deadline and can be failed from outside (drain). An error
before the first byte becomes a status; after it, one `error` event and then the end, without `[DONE]`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving import limits
from serving.http.errors import ApiError, DeadlineExceeded, ReadTimeout, ServerFailed
from serving.http.metrics import Metrics
from verifier.errors import Signal

logger = logging.getLogger(__name__)
T = TypeVar("T")

DONE: Final = b"data: [DONE]\n\n"
_BEAT: Final = b": beat\n\n"
_HEARTBEAT_S: Final = 10.0
_APART_S: Final = 0.02  # a write costs as much as all else that a token of a tiny model costs, and nobody reads faster
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


def unnamed(body: BaseModel) -> bytes:
    """One event in OpenAI's form."""
    return unnamed_bytes(body.model_dump_json().encode())


def unnamed_bytes(body: bytes) -> bytes:
    """The same of a body that is written down already."""
    return b"data: %b\n\n" % body


def named(name: str) -> Callable[[BaseModel], bytes]:
    """A function that makes events of one name."""
    return lambda body: named_bytes(name, body.model_dump_json().encode())


def named_bytes(name: str, body: bytes) -> bytes:
    """One event of a body that is written down already."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), body)


class ClientGone(Signal):
    """The client closed the connection; nobody reads an answer."""


class Work:
    """All that runs for clients now, so that a drain can end it."""

    def __init__(self, metrics: Metrics, deadline_s: float) -> None:
        self.metrics = metrics
        self.deadline_s = deadline_s
        self.heartbeat_s = _HEARTBEAT_S
        self.apart_s = _APART_S
        self._open: dict[asyncio.Task[Any], list[ApiError]] = {}

    def fail_all(self, error: ApiError) -> None:
        """End everything that still runs: its clients get `error`."""
        for task, errors in self._open.items():
            errors.append(error)
            task.cancel()
            self.metrics.aborted.labels(cause="drain").inc()

    async def whole(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, unless the client leaves or the deadline passes first: then it is cancelled."""
        task = asyncio.create_task(work)
        errors = self._open[task] = []
        watcher = asyncio.create_task(_disconnected(request.receive))
        try:
            await asyncio.wait({task, watcher}, timeout=self.deadline_s, return_when=asyncio.FIRST_COMPLETED)
            if errors:
                raise errors[0]
            if task.done():
                return task.result()
            raise self._late(watcher)
        except asyncio.CancelledError:  # the server in front of us gave up on the client
            self.metrics.aborted.labels(cause="disconnect").inc()
            raise
        finally:
            del self._open[task]
            await _end(task, watcher)

    def _late(self, watcher: asyncio.Task[None]) -> Exception:
        if watcher.done():
            self.metrics.aborted.labels(cause="disconnect").inc()
            return ClientGone()
        self.metrics.aborted.labels(cause="deadline").inc()
        return DeadlineExceeded(f"not ready within {self.deadline_s:.0f} s")

    def stream(self, source: AsyncGenerator[bytes, None], error_event: Callable[[BaseModel], bytes]) -> Response:
        """An event stream of `source`; `error_event` spells the error that may end it."""
        return _EventStream(self, source, error_event)


class _EventStream(Response):
    """Sends the events of a source. Those that come within 20 ms after a write go out together in the next."""

    def __init__(
        self, work: Work, source: AsyncGenerator[bytes, None], error_event: Callable[[BaseModel], bytes]
    ) -> None:
        self._work = work
        self._source = source
        self._error_event = error_event
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Drive the stream to its end, its failure, its deadline or the client's leaving."""
        unread = _Unread()
        pump = asyncio.create_task(_pump(self._source, unread))
        watcher = asyncio.create_task(_disconnected(receive))
        for task in (pump, watcher):
            task.add_done_callback(unread.end)
        errors = self._work._open[pump] = []
        begun = False
        try:
            async with asyncio.timeout(self._work.deadline_s):
                while (chunk := await _next(unread, pump, watcher, errors, self._work.heartbeat_s)) is not None:
                    if not begun:
                        begun = True
                        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    unread.taken(len(chunk) if chunk is not _BEAT else 0)
                    await unread.gather(self._work.apart_s)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except ClientGone:
            self._work.metrics.aborted.labels(cause="disconnect").inc()
        except asyncio.CancelledError:  # the server in front of us gave up on the client
            self._work.metrics.aborted.labels(cause="disconnect").inc()
            raise
        except TimeoutError:
            self._work.metrics.aborted.labels(cause="deadline").inc()
            late = DeadlineExceeded(f"the stream took longer than {self._work.deadline_s:.0f} s")
            await self._fail(late, begun, send)
        except ApiError as error:
            await self._fail(error, begun, send)
        finally:
            del self._work._open[pump]
            await _end(pump, watcher)

    async def _fail(self, error: ApiError, begun: bool, send: Send) -> None:
        if not begun:
            raise error
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # a client that stopped reading must not block this task
                await send({"type": "http.response.body", "body": self._error_event(error.answer())})


class _Unread:
    """Events that the client has not taken yet: a bounded number of bytes, and a bounded wait for room.

    A generation goes on while there is room, so its place in the engines is free when it ends, read or not.
    """

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._bytes = 0
        self._room = asyncio.Event()
        self._news = asyncio.Event()
        self._end = asyncio.Event()
        self._ended = False

    async def add(self, event: bytes) -> None:
        """Append an event. ReadTimeout when there is no room for long."""
        if self._bytes > limits.MAX_UNREAD_ANSWER_BYTES:
            await self._await_room()
        self._bytes += len(event)
        self._events.append(event)
        self._news.set()

    async def _await_room(self) -> None:
        try:
            async with asyncio.timeout(limits.UNREAD_ANSWER_S):
                while self._bytes > limits.MAX_UNREAD_ANSWER_BYTES:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise ReadTimeout(f"the client read nothing for {limits.UNREAD_ANSWER_S:.0f} s") from None

    def end(self, _: object = None) -> None:
        """No more events come, or nobody wants them."""
        self._ended = True
        self._news.set()
        self._end.set()

    async def news(self, within_s: float) -> None:
        """Wait for the next event or the end, so many seconds at most."""
        await _set_within(self._news, within_s)

    async def gather(self, within_s: float) -> None:
        """Let events come together for so many seconds, but not beyond the end."""
        if not self._ended:
            await _set_within(self._end, within_s)

    def at_hand(self) -> bytes:
        """All events that are there, as one chunk."""
        chunk = b"".join(self._events)
        self._events.clear()
        return chunk

    def taken(self, size: int) -> None:
        """The client has taken so many bytes."""
        self._bytes -= size
        self._room.set()


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait until `event` is set anew, so many seconds at most; cheaper than `asyncio.timeout`, for it is done often."""
    event.clear()
    timer = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()


async def _pump(source: AsyncGenerator[bytes, None], unread: _Unread) -> None:
    """The only task that reads the source, so that the source is closed in the task that opened it."""
    async with aclosing(source) as events:
        async for event in events:
            await unread.add(event)


async def _next(
    unread: _Unread,
    pump: asyncio.Task[None],
    watcher: asyncio.Task[None],
    errors: list[ApiError],
    heartbeat_s: float,
) -> bytes | None:
    """All events at hand as one chunk, a heartbeat after a silence, or None at the end."""
    waited = False
    while True:
        if watcher.done():
            raise ClientGone
        if chunk := unread.at_hand():
            return chunk
        if errors:
            raise errors[0]
        if pump.done():
            if (error := pump.exception()) is not None:
                raise _as_api_error(error)
            return None
        if waited:
            return _BEAT
        await unread.news(heartbeat_s)
        waited = True


def _as_api_error(error: BaseException) -> ApiError:
    if isinstance(error, ApiError):
        return error
    logger.error("stream_failed", exc_info=error)
    return ServerFailed()


async def _disconnected(receive: Receive) -> None:
    """Wait until the client leaves. One that still sends a body, which nobody reads, is given a second to end it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as patience:
            while (message := await receive())["type"] != "http.disconnect":
                if not message.get("more_body"):
                    patience.reschedule(None)
                elif patience.when() is None:
                    patience.reschedule(asyncio.get_running_loop().time() + limits.UNREAD_BODY_S)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
