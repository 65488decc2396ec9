"""What an engine in a process of its own and the process that asks it say to each other, over one socket.

Each message is a frame: its length, and that many bytes of msgpack, read as one of the types below and nothing else.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from actors.engines.protocol import TokenDelta
from actors.records import Completion, Sampling

_LENGTH_BYTES: Final = 4


class Ask(msgspec.Struct, frozen=True, tag=True):
    """To the engine: draw a completion with this index, or, where there is none, a stream; answers carry `name`."""

    name: int
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    index: int | None


class Abort(msgspec.Struct, frozen=True, tag=True):
    """To the engine: nobody waits for the answers to this request any more."""

    name: int


class Started(msgspec.Struct, frozen=True, tag=True):
    """From the engine: it takes requests."""


class Whole(msgspec.Struct, frozen=True, tag=True):
    """From the engine: the last and only answer to a request that is not streamed."""

    name: int
    completion: Completion


class Drawn(msgspec.Struct, frozen=True, tag=True):
    """From the engine: the next tokens of a stream; the last have a finish reason."""

    name: int
    delta: TokenDelta


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From the engine: the last answer to a request, or, with no name, the reason why the engine does not start."""

    name: int | None
    error: str  # the name of the class, of those in `actors.engines.protocol`
    message: str


ToEngine = Ask | Abort
FromEngine = Started | Whole | Drawn | Failed

In = TypeVar("In")
Out = TypeVar("Out")


class Channel(asyncio.Protocol, Generic[In, Out]):
    """One end of the socket.

    `hears` gets every message in order, each one of the type `incoming`. `ended` is done when the other end has gone.
    """

    def __init__(self, incoming: Any, hears: Callable[[In], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._decoder = msgspec.msgpack.Decoder(incoming)
        self._encoder = msgspec.msgpack.Encoder()
        self._hears = hears
        self._received = bytearray()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    async def open(self, end: socket.socket) -> None:
        """Speak over `end`, which belongs to the channel from now on."""
        await asyncio.get_running_loop().create_connection(lambda: self, sock=end)

    def say(self, message: Out) -> None:
        """Send a message, together with all others of this turn of the event loop; lost if the other end has gone."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        data = self._encoder.encode(message)
        self._unsent += (len(data).to_bytes(_LENGTH_BYTES, "little"), data)

    def close(self) -> None:
        """Take the connection down; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's have no common base with asyncio's

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: hand on every message that is whole."""
        self._received += data
        start = 0
        while (body := start + _LENGTH_BYTES) <= len(self._received):
            end = body + int.from_bytes(self._received[start:body], "little")
            if end > len(self._received):
                break
            self._hears(self._decoder.decode(memoryview(self._received)[body:end]))
            start = end
        del self._received[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))
