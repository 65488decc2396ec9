"""The application on a real port in this process, and raw connections to it: what an attacker has."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from serving.http.connections import Connections
from serving.http.listening import Listener
from tests.http.conftest import Server, codec, keys, pristine_run, run_dir, serve, server

__all__ = ["codec", "keys", "pristine_run", "run_dir", "serve", "server"]


class Wire:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write, and wait until the kernel has taken it. A connection that is closed takes nothing."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer of a known length: status, headers, body. ConnectionError when there is none."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("closed without an answer") from error
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, body

    async def error(self) -> tuple[int, str]:
        """The next answer's status and the code of its error."""
        status, _, body = await self.answer()
        return status, json.loads(body)["error"]["code"]

    async def error_to(self, endless: bytes, at_most: int) -> tuple[int, str]:
        """What `error` gives while `endless` is sent again and again, until there is an answer or `at_most` bytes."""
        answer = asyncio.create_task(self.error())
        sent = 0
        while not answer.done() and sent < at_most:
            await self.send(endless)
            sent += len(endless)
            await asyncio.sleep(0)
        return await answer

    async def closed(self) -> bool:
        """Whether the server ends the connection; what it still says is thrown away."""
        try:
            async with asyncio.timeout(20):
                while await self.reader.read(1 << 16):
                    pass
        except (ConnectionError, TimeoutError) as error:
            return isinstance(error, ConnectionError)
        return True

    def close(self) -> None:
        self.writer.close()


@dataclass
class Port:
    """A listening server."""

    server: Server
    listener: Listener
    number: int
    open: list[Wire]

    async def connect(self, source: str = "127.0.0.1", limit: int = 1 << 24, begun: bytes = b"") -> Wire:
        """A connection from an address of the loopback network; `begun` is there before the server can look."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # what is not read stays with the server
        client.bind((source, 0))
        client.connect(("127.0.0.1", self.number))  # the kernel takes it, and its bytes, for the server
        client.sendall(begun)
        client.setblocking(False)
        self.open.append(Wire(*await asyncio.open_connection(sock=client, limit=limit)))
        return self.open[-1]

    async def ask(self, head: bytes, source: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        wire = await self.connect(source)
        await wire.send(head)
        return await wire.answer()


@pytest.fixture
async def listen(serve) -> AsyncIterator[Callable]:
    """A function that puts a server on a port; `total` and `per_address` bound its connections."""
    ports: list[Port] = []

    async def make(total: int = 512, per_address: int = 256, number: int = 0, **settings: object) -> Port:
        made = serve(**settings)
        listener = Listener(made.replica.app, Connections(total, per_address))
        ports.append(Port(made, listener, await listener.start("127.0.0.1", number), []))
        return ports[-1]

    yield make
    for port in ports:
        for wire in port.open:
            wire.close()
        await port.listener.stop()
