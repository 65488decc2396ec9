"""The server's own port: uvicorn with bounds on what a connection may send, hold and leave unread.

A replica that listens itself (docs/decisions/0070) has this between the network and its guard. Bytes are counted and
times are kept here, before any key is looked at; a request that breaks a bound gets the API's error and its
connection is closed. Behind Serve's proxy this is not in place: what stands in front of it has to bound bytes.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import sys
import termios
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import limits
from serving.http.connections import Connections
from serving.http.errors import ApiError, BadRequest, HeadTimeout, HeadTooLarge, TooLarge, Unavailable, UrlTooLong

_BACKLOG: Final = 1024
_REASONS: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Between `on_message_begin` and `on_headers_complete` a head comes; after it, perhaps a body."""

    def __init__(self, connections: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections_held = connections
        self._fault: ApiError | None = None
        self._head_open = False
        self._body_open = False
        self._begun = False  # a head or a body, within the bytes that are being parsed
        self._content_bytes = 0  # of a body, among the same
        self._framing_bytes = 0  # of the head, or of all in a body that is not its content
        self._deadline: asyncio.TimerHandle | None = None  # of the head, or of a body that nobody reads
        self._unread: asyncio.TimerHandle | None = None  # of an answer that waits for its reader

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else "local"

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # --- The connection -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place among the connections, or say at once that there is none."""
        super().connection_made(transport)  # pyright: ignore[reportArgumentType]
        if self._connections_held.admit(self, self._address):
            self._within(limits.HEAD_TIMEOUT_S, self._head_is_late)
        else:
            self._refuse(Unavailable("too many connections are open", code="too_many_connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place and the clocks."""
        self._connections_held.forget(self, self._address)
        self._stop_clock()
        self._stop_watching()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Close without an answer: no request is under way."""
        self.transport.abort()

    # --- The request --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Count what frames a head or body that stays open; what has begun within these is counted from the next on.

        Around a chunked body that is sizes, their extensions and trailers; the parser keeps a trailer until it ends.
        """
        if self.transport.is_closing():
            return
        was_open, self._begun, self._content_bytes = self._head_open or self._body_open, False, 0
        super().data_received(data)
        if self.transport.is_closing():
            return
        if (self._head_open or self._body_open) and was_open and not self._begun:
            self._framing_bytes += len(data) - self._content_bytes
            if self._framing_bytes > limits.MAX_HEAD_BYTES:
                self._refuse(_head_too_large() if self._head_open else _framing_too_large())
        # Bytes have stopped the clock of an idle connection: blank lines are no reason to hold it for ever.
        if not (self._answering or self._body_open) and self.timeout_keep_alive_task is None:
            self._within(limits.HEAD_TIMEOUT_S, self._head_is_late)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._head_open, self._begun, self._framing_bytes = True, True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        super().on_url(url)
        if len(self.url) > limits.MAX_URL_BYTES:
            self._fail(UrlTooLong(f"the request's address may have {limits.MAX_URL_BYTES} bytes at most"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header. One that comes after a body is none: it would stand among those that the guard trusts."""
        if not self._head_open:
            self._fail(BadRequest("a body may have no trailers: send every header before it", code="trailers"))
        super().on_header(name, value)
        if len(self.headers) > limits.MAX_HEADERS:
            self._fail(HeadTooLarge(f"a request may have {limits.MAX_HEADERS} headers at most"))

    def on_headers_complete(self) -> None:
        """The head is whole: check its size once more, for it may have come in one piece, and begin the answer."""
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > limits.MAX_HEAD_BYTES:
            self._fail(_head_too_large())
        if len(self.pipeline) >= limits.MAX_PIPELINED:
            self._fail(BadRequest(f"at most {limits.MAX_PIPELINED} requests may wait on one connection"))
        self._stop_clock()
        self._connections_held.works(self, self._address)
        super().on_headers_complete()
        self._head_open, self._body_open, self._begun, self._framing_bytes = False, True, True, 0

    def on_body(self, body: bytes) -> None:
        """A part of the body's content."""
        self._content_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole, read or thrown away."""
        super().on_message_complete()
        self._body_open = False
        if self.cycle.response_complete and not self.pipeline:
            self._stop_clock()
            self._idle()

    # --- The answer ---------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """The answer is written: wait for the next request, the end of a body that nobody will read, or to close.

        Each of them gives way to a newcomer, and to none of them does an unread rest of the answer give more time.
        """
        super().on_response_complete()
        closing = self.transport.is_closing()
        if self._answering and not closing:
            return
        self._connections_held.waits(self, self._address)
        self._watch_reader()
        if self._body_open and not closing:
            self._unset_keepalive_if_required()
            self._within(limits.UNREAD_BODY_S, self.transport.abort)

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The client reads again; of an answer that is complete the rest still waits for it."""
        self._watch_reader()
        super().resume_writing()

    def _watch_reader(self) -> None:
        """Give the client its time anew, if an answer waits for it."""
        self._stop_watching()
        if self.transport.get_write_buffer_size():
            unread = unread_bytes(self.transport)
            self._unread = self.loop.call_later(limits.UNREAD_ANSWER_S, self._check_reader, unread)

    def _check_reader(self, before: int) -> None:
        if self._answering and not self.flow.write_paused:
            return  # what has been written since says nothing of the reader; the answer's end or a pause looks again
        unread = unread_bytes(self.transport)
        if self.transport.get_write_buffer_size() and unread > before - limits.MIN_READ_BYTES:
            self.transport.abort()
        else:
            self._watch_reader()

    def _stop_watching(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    # --- Clocks and refusals ------------------------------------------------------------------------------------

    def _idle(self) -> None:
        self._connections_held.waits(self, self._address)
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _within(self, seconds: float, otherwise: Callable[[], object]) -> None:
        """Start the clock unless it runs: more bytes give no more time."""
        if self._deadline is None:
            self._deadline = self.loop.call_later(seconds, otherwise)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        if self._head_open:
            self._refuse(HeadTimeout(f"the headers did not arrive within {limits.HEAD_TIMEOUT_S:.0f} s"))
        else:
            self.transport.close()

    def _fail(self, error: ApiError) -> None:
        """End the parsing: uvicorn then asks for an answer of 400, which becomes this error."""
        self._fault = error
        raise error

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when a request cannot be parsed."""
        self._refuse(self._fault or BadRequest("this is no HTTP/1.1 request", code="invalid_http"))

    def _refuse(self, error: ApiError) -> None:
        """Answer and close; only close where the answer would come into another, or after the request's own."""
        if self._may_answer:
            body = error.answer().model_dump_json().encode()
            headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
            lines = "".join(f"{name}: {value}\r\n" for name, value in (headers | error.headers()).items())
            start = b"HTTP/1.1 %d %s\r\n" % (error.status, _REASONS[error.status])
            self.transport.write(start + lines.encode() + b"\r\n" + body)
            if self._body_open:  # the application has the request already: nothing of its own may follow
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        self.transport.close()

    @property
    def _may_answer(self) -> bool:
        if self._body_open:
            return not (self.pipeline or self.cycle.response_started)
        return not self._answering


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the request line and headers may have {limits.MAX_HEAD_BYTES} bytes at most")


def _framing_too_large() -> TooLarge:
    return TooLarge(f"what frames a body's chunks may have {limits.MAX_HEAD_BYTES} bytes at most: send larger chunks")


def unread_bytes(transport: asyncio.Transport) -> int:
    """What the client has not acknowledged of all that was written: in our buffer, and in the kernel's.

    The kernel takes more from us only when it has sent off a large part, so our buffer alone may rest for a minute
    while the client reads. Where the kernel cannot be asked (Linux can), our buffer has to do.
    """
    try:
        in_kernel = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        in_kernel = bytes(4)
    return transport.get_write_buffer_size() + int.from_bytes(in_kernel, sys.byteorder)


class Listener:
    """An application on a port of its own, in the event loop that starts it."""

    def __init__(self, app: Any, connections: Connections | None = None) -> None:
        self.connections = Connections() if connections is None else connections
        config = uvicorn.Config(
            app,
            http=partial(BoundedProtocol, self.connections),  # pyright: ignore[reportArgumentType]
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.CRITICAL,  # the guard logs every request
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=int(limits.IDLE_TIMEOUT_S),
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port (the kernel's choice for 0). OSError when it is another's.

        SO_REUSEPORT: the replicas of one machine share the port, and the kernel deals out new connections among them
        (docs/decisions/0150); it lets in processes of the same user only. SO_REUSEADDR: the kernel keeps the idle
        connections of a replica that was killed for a minute, and for so long its successor could not take the port.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG, reuse_port=True)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            await asyncio.wait({self._task}, timeout=0.01)
            if self._task.done():
                self._task.result()
                raise OSError(f"the server on {host}:{port} ended while it started")
        return listening.getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection; answers under way have had their grace before."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
