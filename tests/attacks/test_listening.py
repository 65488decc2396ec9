"""What reaches the port before any key: bytes without end, and connections that ask nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from serving import limits
from serving.http.connections import Connections, client_of
from serving.http.listening import BoundedProtocol
from serving.runs import routes
from tests.attacks.conftest import Port
from tests.http.test_models import until
from tests.runs import write_run

Listen = Callable[..., Awaitable[Port]]
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def post(path: str, key: str, body: dict, more: bytes = b"") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    return head.encode() + more + b"Content-Length: %d\r\n\r\n" % len(content) + content


@pytest.mark.parametrize(
    ("start", "endless", "status", "code"),
    [
        (b"GET /", b"a" * 4096, 414, "url_too_long"),
        (b"GET / HTTP/1.1\r\nA: ", b"a" * 4096, 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 64, 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\n", b"A: " + b"b" * 1000 + b"\r\n", 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\n", b"a" * 4096, 431, "head_too_large"),
    ],
    ids=["url", "one header", "many headers", "large headers", "one name"],
)
async def test_a_head_without_end_is_refused_after_bounded_bytes(
    listen: Listen, start: bytes, endless: bytes, status: int, code: str
):
    port = await listen()
    wire = await port.connect()
    await wire.send(start)
    assert await wire.error_to(endless, at_most=2_000_000) == (status, code)
    assert await wire.closed()


@pytest.mark.parametrize(
    ("request_head", "status", "code"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "url_too_long"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 40_000 + b"\r\n\r\n", 431, "head_too_large"),
        (b"nonsense\r\n\r\n", 400, "invalid_http"),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", 400, "invalid_http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_http"),
    ],
)
async def test_a_head_that_comes_in_one_piece_is_held_to_the_same_bounds(
    listen: Listen, request_head: bytes, status: int, code: str
):
    port = await listen()
    wire = await port.connect()
    await wire.send(request_head)
    assert await wire.error() == (status, code)
    assert await wire.closed()


async def test_a_head_just_below_the_bounds_is_answered(listen: Listen):
    port = await listen()
    many = b"".join(b"A%d: b\r\n" % i for i in range(98))
    assert (await port.ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + many + b"\r\n"))[0] == 200
    long = b"A: " + b"b" * (limits.MAX_HEAD_BYTES - 200) + b"\r\n"
    assert (await port.ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + long + b"\r\n"))[0] == 200


async def test_a_thousand_small_requests_sent_in_one_piece_are_not_one_large_head(listen: Listen):
    port = await listen()
    wire = await port.connect()
    for _ in range(5):
        await wire.send(HEALTH * limits.MAX_PIPELINED)
        for _ in range(limits.MAX_PIPELINED):
            assert (await wire.answer())[0] == 200


async def test_the_replicas_of_one_machine_share_its_port(listen: Listen):
    first = await listen()
    second = await listen(number=first.number)
    for _ in range(64):  # the kernel deals out connections by their addresses
        assert (await first.ask(HEALTH))[0] == 200
    assert _answers(first) + _answers(second) == 64
    assert _answers(first) > 0
    assert _answers(second) > 0


def _answers(port: Port) -> float:
    (family,) = port.server.replica.service.metrics.requests.collect()
    return sum(sample.value for sample in family.samples if sample.name.endswith("_total"))


async def test_more_requests_than_may_wait_on_one_connection_end_it(listen: Listen):
    port = await listen()
    wire = await port.connect()
    await wire.send(HEALTH * 5000)
    assert await wire.closed()
    assert (await port.ask(HEALTH))[0] == 200


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nA: b\r\n", b"\r\n\r\n"])
async def test_a_head_that_never_comes_whole_ends_its_connection(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, begun: bytes
):
    monkeypatch.setattr(limits, "HEAD_TIMEOUT_S", 0.2)
    port = await listen()
    wire = await port.connect(begun=begun)
    if begun.strip():
        assert await wire.error() == (408, "head_timeout")
    assert await wire.closed()
    assert len(port.listener.connections) == 0


async def test_bytes_now_and_then_buy_no_time_for_a_head(listen: Listen, monkeypatch: pytest.MonkeyPatch):
    port = await listen()
    wire = await port.connect()
    await wire.send(HEALTH)
    assert (await wire.answer())[0] == 200
    monkeypatch.setattr(limits, "HEAD_TIMEOUT_S", 0.3)
    answer = asyncio.create_task(wire.answer())
    for _ in range(100):
        await wire.send(b"\r\n")
        await asyncio.sleep(0.05)
        if answer.done():
            break
    with pytest.raises(ConnectionError):
        await answer


async def test_blank_lines_leave_the_next_request_a_connection(listen: Listen):
    port = await listen()
    wire = await port.connect()
    for _ in range(3):
        await wire.send(b"\r\n\r\n" + HEALTH)
        assert (await wire.answer())[0] == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n", 200),
        (b"POST /healthz HTTP/1.1\r\nHost: a\r\n", 405),
        (b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n", 401),
    ],
)
async def test_a_body_that_nobody_reads_is_thrown_away_and_soon_ended(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, head: bytes, status: int
):
    monkeypatch.setattr(limits, "UNREAD_BODY_S", 0.2)
    port = await listen()
    wire = await port.connect()
    await wire.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
    assert (await wire.answer())[0] == status
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    async with asyncio.timeout(20):
        while not wire.reader.at_eof():
            await wire.send(chunk)
            await asyncio.sleep(0.01)
            if wire.reader.exception() is not None or wire.writer.is_closing():
                break
    await until(lambda: len(port.listener.connections) == 0)


async def test_a_body_that_nobody_reads_ends_a_stream_that_is_watched(
    listen: Listen, run_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "UNREAD_BODY_S", 0.2)
    write_run(run_dir, 3)
    port = await listen()
    key = b"Authorization: Bearer " + port.server.keys.read.encode() + b"\r\n"
    wire = await port.connect()
    await wire.send(b"GET /v1/runs/demo/events HTTP/1.1\r\nHost: a\r\n" + key + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    async with asyncio.timeout(60):
        await wire.reader.readuntil(b"event: steps")  # it is watched now
        while len(port.listener.connections):
            await wire.send(chunk)
            await asyncio.sleep(0.01)


async def test_a_small_body_leaves_a_stream_that_is_watched_as_it_is(
    listen: Listen, run_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "UNREAD_BODY_S", 2.0)
    monkeypatch.setattr(routes, "WATCH_S", 4.0)
    write_run(run_dir, 3)
    port = await listen()
    key = b"Authorization: Bearer " + port.server.keys.read.encode() + b"\r\n"
    wire = await port.connect()
    await wire.send(b"GET /v1/runs/demo/events HTTP/1.1\r\nHost: a\r\n" + key + b"Content-Length: 5\r\n\r\n")
    async with asyncio.timeout(60):
        await wire.reader.readuntil(b"event: steps")
        (protocol,) = port.listener._server.server_state.connections
        assert isinstance(protocol, BoundedProtocol)
        await wire.send(b"12")
        await until(lambda: protocol._content_bytes == 2 and not protocol.cycle.body)  # the stream has seen them
        await wire.send(b"345")
        await wire.reader.readuntil(b"data: [DONE]")


async def test_a_small_body_that_nobody_reads_leaves_the_connection_in_use(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "UNREAD_BODY_S", 3600.0)  # it comes in time, however slow the machine is
    port = await listen()
    wire = await port.connect()
    for _ in range(3):
        await wire.send(b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert (await wire.answer())[0] == 405
        await wire.send(b"12345")
    await wire.send(HEALTH)
    assert (await wire.answer())[0] == 200


CHUNKED = b"Host: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("trailers", [b"A: b\r\n", b"A: b\r\nC: d\r\n\r\n"])
async def test_a_key_after_the_body_opens_nothing(listen: Listen, trailers: bytes):
    port = await listen()
    key = b"Authorization: Bearer " + port.server.keys.probe.encode() + b"\r\n"
    wire = await port.connect()
    await wire.send(b"POST /v1/probe/problems HTTP/1.1\r\n" + CHUNKED + b'8\r\n{"op":2}\r\n0\r\n' + key + trailers)
    assert await wire.error() == (400, "trailers")
    assert await wire.closed()


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (b"0\r\nA: ", b"a" * 4096),
        (b"0\r\n", b"a" * 4096),
        (b"1;a=", b"a" * 4096),
        (b"", b"1\r\n \r\n" * 512),
    ],
    ids=["a trailer", "a trailer's name", "an extension", "small chunks"],
)
async def test_what_frames_a_body_is_refused_after_bounded_bytes(listen: Listen, start: bytes, endless: bytes):
    port = await listen()
    key = b"Authorization: Bearer " + port.server.keys.probe.encode() + b"\r\n"
    wire = await port.connect()
    await wire.send(b"POST /v1/completions HTTP/1.1\r\n" + key + CHUNKED + start)
    assert await wire.error_to(endless, at_most=400_000) == (413, "too_large")
    assert await wire.closed()


async def test_a_body_in_chunks_is_read_whatever_their_size(listen: Listen):
    port = await listen()
    key = b"Authorization: Bearer " + port.server.keys.probe.encode() + b"\r\n"
    wire = await port.connect()
    content = json.dumps({"model": "latest", "prompt": "a" * 200}).encode() + b" " * 100_000
    pieces = [content[at : at + 64] for at in range(0, len(content), 64)]
    await wire.send(b"POST /v1/completions HTTP/1.1\r\n" + key + CHUNKED)
    for piece in pieces:
        await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await wire.send(b"0\r\n\r\n" + HEALTH)
    assert (await wire.answer())[0] == 200
    assert (await wire.answer())[0] == 200


async def test_a_faulty_body_that_is_answered_already_gets_no_second_answer(listen: Listen):
    port = await listen()
    wire = await port.connect()
    await wire.send(b"POST /healthz HTTP/1.1\r\n" + CHUNKED)
    assert (await wire.answer())[0] == 405
    await wire.send(b"no size\r\n")
    with pytest.raises(ConnectionError):
        await wire.answer()


async def test_clients_that_owe_a_body_make_room_for_those_that_ask(listen: Listen, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "UNREAD_BODY_S", 3600.0)
    port = await listen(total=4, per_address=2)
    for number in range(4):
        wire = await port.connect(f"127.0.0.{2 + number % 2}")
        await wire.send(b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert (await wire.answer())[0] == 405
    assert (await port.ask(HEALTH, "127.0.0.9"))[0] == 200


async def test_silent_connections_make_room_for_those_that_ask(listen: Listen):
    port = await listen(total=6, per_address=4)
    silent = [await port.connect("127.0.0.2") for _ in range(10)]
    mine = await port.connect("127.0.0.3")
    await mine.send(HEALTH)
    assert (await mine.answer())[0] == 200
    assert "127.0.0.2" in port.listener.connections._open
    silent += [await port.connect(f"127.0.0.{i}") for i in range(4, 9)]
    await until(lambda: "127.0.0.2" not in port.listener.connections._open)
    await mine.send(HEALTH)
    assert (await mine.answer())[0] == 200, "one silent connection of the others was to give way, not this one"


async def test_when_all_are_at_work_a_newcomer_is_told_so(listen: Listen):
    port = await listen(total=2, per_address=2)
    port.server.script.gate = asyncio.Event()
    body = {"model": "latest", "prompt": "a"}
    working = [await port.connect() for _ in range(2)]
    for wire in working:
        await wire.send(post("/v1/completions", port.server.keys.probe, body))
    await until(lambda: port.server.script.open == 2)
    late = await port.connect()
    assert await late.error() == (503, "too_many_connections")
    port.server.script.gate.set()
    assert [(await wire.answer())[0] for wire in working] == [200, 200]


def test_connections_are_counted_by_who_holds_them():
    assert client_of("2001:db8:1:2:3:4:5:6") == client_of("2001:db8:1:2::1") != client_of("2001:db8:1:3::1")
    assert client_of("::ffff:10.0.0.1") == "10.0.0.1"

    class Line:
        gone = False

        def give_way(self) -> None:
            self.gone = True

    crowd = Connections(total=3, per_address=2)
    first, second, third, fourth, fifth = (Line() for _ in range(5))
    assert crowd.admit(first, "a")
    assert crowd.admit(second, "a")
    crowd.works(first, "a")
    assert crowd.admit(third, "a")
    assert (first.gone, second.gone) == (False, True)
    assert crowd.admit(fourth, "b")
    assert crowd.admit(fifth, "c")
    assert (third.gone, fourth.gone) == (True, False), "the address with most gives way"
    assert len(crowd) == 3
    for line, address in ((first, "a"), (fourth, "b"), (fifth, "c")):
        crowd.forget(line, address)
    assert len(crowd) == 0


def test_an_idle_connection_gives_way_though_all_of_the_address_with_most_are_at_work():
    class Line:
        gone = False

        def give_way(self) -> None:
            self.gone = True

    crowd = Connections(total=3, per_address=2)
    busy, idle, newcomer, late = [Line(), Line()], Line(), Line(), Line()
    for line in busy:
        crowd.admit(line, "a")
        crowd.works(line, "a")
    crowd.admit(idle, "b")
    assert crowd.admit(newcomer, "c")
    assert (idle.gone, newcomer.gone, [line.gone for line in busy]) == (True, False, [False, False])
    crowd.works(newcomer, "c")
    assert not crowd.admit(late, "d"), "all are at work"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\nX-A: \xff\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Request-Timeout-Seconds: 0.001\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"GET /-/routes HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["no utf-8", "a timeout of its own", "a web socket", "the server in front"],
)
async def test_odd_heads_meet_our_guard_and_nothing_before_it(listen: Listen, head: bytes):
    port = await listen()
    status, headers, body = await port.ask(head)
    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    assert headers["x-request-id"].startswith("req-")
    assert "server" not in headers


async def test_ids_are_distinct_though_the_engine_seeds_the_random_module(listen: Listen):
    import random

    port = await listen()
    asked = post(
        "/v1/completions", port.server.keys.probe, {"model": "latest", "prompt": "a"}, b"X-Request-Id: one\r\n"
    )
    wire = await port.connect()
    requests, completions = set(), set()
    for _ in range(4):
        random.seed(0)
        await wire.send(HEALTH)
        requests.add((await wire.answer())[1]["x-request-id"])
        await wire.send(asked)
        completions.add(json.loads((await wire.answer())[2])["id"])
    assert (len(requests), len(completions)) == (4, 4)
