"""Answers that their clients do not read: whether they hold a connection, and when it is ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serving import limits
from serving.http.listening import BoundedProtocol, unread_bytes
from tests.attacks.conftest import Port, Wire
from tests.attacks.test_listening import HEALTH, Listen, post
from tests.http.test_models import until

LARGE = 16 << 20  # more than the kernel takes of an answer at once


async def answers_at_length(scope: dict, receive: Callable, send: Callable) -> None:
    """An application with a large answer, written in one piece, to `/large`; with a small one elsewhere."""
    body = b"a" * (LARGE if scope["path"] == "/large" else 1)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def at_length(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> Port:
    """`answers_at_length` on a port with one place, where no clock looks after readers."""
    monkeypatch.setattr(limits, "UNREAD_ANSWER_S", 3600.0)
    port = await listen(total=1, per_address=1)
    port.listener._server.config.loaded_app = answers_at_length
    return port


def large(more: bytes = b"") -> bytes:
    return b"GET /large HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n"


def only_connection(port: Port) -> BoundedProtocol:
    (protocol,) = port.listener._server.server_state.connections
    assert isinstance(protocol, BoundedProtocol)
    return protocol


def waiting(port: Port) -> bool:
    """Whether a part of an answer is in our buffer, since the kernel takes no more."""
    held = port.listener._server.server_state.connections
    return any(protocol.transport.get_write_buffer_size() for protocol in held)


CLOSE = b"Connection: close\r\n"


@pytest.mark.parametrize("more", [b"", CLOSE], ids=["stays", "closes"])
async def test_an_answer_in_the_kernel_counts_as_read_when_the_client_reads(at_length: Port, more: bytes):
    wire = await at_length.connect(limit=1024)
    await wire.send(large(more))
    await until(lambda: waiting(at_length))
    protocol = only_connection(at_length)
    ours, before = protocol.transport.get_write_buffer_size(), unread_bytes(protocol.transport)
    await wire.reader.readexactly(300_000)  # more than the client's kernel has taken meanwhile
    await until(lambda: unread_bytes(protocol.transport) <= before - limits.MIN_READ_BYTES)
    assert protocol.transport.get_write_buffer_size() == ours, "our buffer alone tells nothing of this reader"
    protocol._check_reader(before)
    assert waiting(at_length), "it reads"
    protocol._check_reader(unread_bytes(protocol.transport))
    await until(lambda: len(at_length.listener.connections) == 0)


@pytest.mark.parametrize("more", [b"", CLOSE], ids=["stays", "closes"])
async def test_the_rest_of_an_answer_that_nobody_reads_makes_room(at_length: Port, more: bytes):
    wire = await at_length.connect(limit=1024)
    await wire.send(large(more))
    await until(lambda: waiting(at_length))
    assert (await at_length.ask(HEALTH, "127.0.0.9"))[0] == 200


@pytest.mark.parametrize("more", [b"", CLOSE], ids=["stays", "closes"])
async def test_a_small_rest_of_an_answer_is_watched_as_a_large_one(at_length: Port, more: bytes):
    wire = await at_length.connect(limit=1024)
    await wire.send(HEALTH)
    await wire.answer()
    protocol = only_connection(at_length)
    protocol.transport.set_write_buffer_limits(high=2 * LARGE)  # so that it is a small rest, which stops no writer
    await wire.send(large(more))
    await until(lambda: waiting(at_length))
    assert protocol._unread is not None
    protocol._check_reader(unread_bytes(protocol.transport))
    await until(lambda: len(at_length.listener.connections) == 0)


async def test_an_answer_that_nobody_reads_is_dropped_with_its_connection(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "UNREAD_ANSWER_S", 0.2)
    port = await listen()
    port.server.script.write = lambda model, seed: " a b c d" * 200
    asked = [{"role": "user", "content": "<question>"}]
    body = {"model": "latest", "messages": asked, "max_tokens": 800, "n": 8, "logprobs": True, "top_logprobs": 20}
    wire: Wire = await port.connect(limit=1024)
    await wire.send(post("/v1/chat/completions", port.server.keys.probe, body))
    six_megabytes_s = 100.0  # more than the kernel takes; a busy machine needs its time to write them down
    await until(lambda: bool(port.server.script.started) and not len(port.listener.connections), six_megabytes_s)
    assert port.server.replica.service.gate.used == 0
