"""How answers end early: clients that leave, deadlines, drains, slow bodies; and errors inside streams."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.http.conftest import Server
from tests.http.test_models import until

ASK = {"model": "latest", "prompt": "a"}


class Connection:
    """One ASGI connection by hand, so that the client can leave, stall or read slowly."""

    def __init__(
        self,
        server: Server,
        path: str,
        body: dict[str, Any] | None = None,
        key: str | None = None,
        method: str = "POST",
    ) -> None:
        self.sent: list[dict[str, Any]] = []
        self.offered = 0  # messages that the server wants to send, read or not
        self.left = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if body is not None:
            self._messages.put_nowait({"type": "http.request", "body": json.dumps(body).encode(), "more_body": False})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [
                (b"authorization", f"Bearer {key or server.keys.probe}".encode()),
                (b"content-type", b"application/json"),
            ],
            "client": ("test", 1),
            "server": ("test", 80),
        }
        self.task = asyncio.create_task(server.replica.app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._messages.empty():
            return self._messages.get_nowait()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.offered += 1
        await self.may_read.wait()
        self.sent.append(dict(message))

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def seen_to_leave(server: Server) -> float:
    """How many clients the server has seen leave before their answers."""
    found = server.replica.service.metrics.registry.get_sample_value("interplay_aborted_total", {"cause": "disconnect"})
    return found or 0.0


def let_pass(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the clock of the event loop forward."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda now=loop.time: now() + seconds)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "extra"),
    [
        ("/v1/completions", {"n": 3}),
        ("/v1/probe/solve", {"problem": {"op": 4}, "prompt": None}),
        ("/v1/probe/pass-at-k", {"problem": {"op": 4}, "prompt": None}),
        ("/v1/probe/recovery", {"problem": {"op": 4}, "prompt": None, "model": None, "models": ["latest"]}),
    ],
)
async def test_a_client_that_leaves_ends_the_generation(server: Server, path: str, extra: dict, stream: bool):
    server.script.gate = asyncio.Event()  # no token comes: nothing else ends it
    body = {name: value for name, value in {**ASK, **extra, "stream": stream}.items() if value is not None}
    connection = Connection(server, path, body)
    await until(lambda: server.script.open > 0)
    connection.left.set()
    for _ in range(100):
        await asyncio.sleep(0)
    assert server.script.open == 0, "at once: no clock and no thread is waited for"
    await connection.task
    assert server.script.aborted > 0
    gate = server.replica.service.gate
    assert (gate.used, gate.depth) == (0, 0)
    metrics = (await server.client.get("/metrics")).text
    assert 'interplay_aborted_total{cause="disconnect"} 1.0' in metrics


async def test_a_client_that_leaves_the_queue_frees_its_place(serve):
    server = serve(running=1, queued=1)
    server.script.gate = asyncio.Event()
    first = Connection(server, "/v1/completions", ASK)
    await until(lambda: server.script.open == 1)
    second = Connection(server, "/v1/completions", ASK)
    await until(lambda: server.replica.service.gate.depth == 1)
    second.left.set()
    await second.task
    assert server.replica.service.gate.depth == 0
    server.script.gate.set()
    await first.task
    assert first.status == 200


async def test_a_deadline_is_504_before_the_first_byte_and_an_event_after_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    work = server.replica.service.work
    await server.client.post("/v1/completions", json=ASK)
    server.script.gate = asyncio.Event()
    begun = Connection(server, "/v1/probe/solve", {"model": "latest", "problem": {"op": 3}})
    await until(lambda: b"event: start" in begun.body)
    let_pass(work.deadline_s, monkeypatch)
    await begun.task
    assert begun.status == 200
    last = begun.body.rstrip().split(b"\n\n")[-1]
    assert last.startswith(b"event: error\ndata: ")
    assert b"deadline_exceeded" in last
    assert b"[DONE]" not in begun.body
    work.deadline_s = 0.3
    whole = await server.client.post("/v1/completions", json=ASK)
    assert (whole.status_code, whole.json()["error"]["code"]) == (504, "deadline_exceeded")
    late = await server.client.post("/v1/completions", json={**ASK, "stream": True})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
    await until(lambda: server.script.open == 0)


async def test_an_engine_that_dies_in_a_stream_gives_one_error_event_and_no_done(server: Server):
    await server.client.post("/v1/completions", json=ASK)
    server.script.delay_s = 0.01
    connection = Connection(server, "/v1/completions", {**ASK, "stream": True})
    await until(lambda: len(connection.sent) > 1)
    server.script.dies = True
    await connection.task
    last = connection.body.rstrip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "engine_failed"
    assert b"[DONE]" not in connection.body


@pytest.mark.parametrize("n", [1, 2])
async def test_an_error_that_no_engine_should_raise_ends_a_stream_at_once_and_is_logged(
    serve, caplog: pytest.LogCaptureFixture, n: int
):
    def odd(model: str, seed: int) -> str:
        raise RuntimeError("odd")

    server = serve(deadline_s=20)
    server.script.write = odd
    answer = await server.client.post("/v1/completions", json={**ASK, "n": n, "stream": True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["stream_failed"]


async def test_a_drain_lets_streams_finish_and_refuses_newcomers(serve):
    server = serve(grace_s=10)
    await server.client.post("/v1/completions", json=ASK)
    server.script.gate = asyncio.Event()
    running = Connection(server, "/v1/completions", {**ASK, "stream": True})
    await until(lambda: server.script.open == 1)
    drain = asyncio.create_task(server.replica.drain())
    await until(lambda: server.replica.service.gate.closed)
    ready = await server.client.get("/readyz")
    assert ready.status_code == 503
    refused = await server.client.post("/v1/completions", json=ASK)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
    assert "retry-after" in refused.headers
    server.script.gate.set()
    await asyncio.gather(drain, running.task)
    assert running.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_drain_ends_what_does_not_finish_with_an_error(serve, stream: bool):
    server = serve(grace_s=0.2)
    await server.client.post("/v1/completions", json=ASK)
    server.script.delay_s = 0.05
    server.script.write = lambda model, seed: " a b c d e f g h i j" * 20
    running = Connection(server, "/v1/completions", {**ASK, "stream": stream})
    await until(lambda: server.script.open == 1 and (not stream or len(running.sent) > 1))
    async with asyncio.timeout(5):
        await server.replica.drain()
        await running.task
    error = json.loads(running.body.rstrip().split(b"\n\n")[-1].removeprefix(b"data: "))["error"]
    assert error["code"] == "draining"
    assert running.status == (200 if stream else 503)


async def test_a_body_that_never_comes_is_given_up_and_hurts_nobody(server: Server):
    server.replica.app.body_timeout_s = 0.2
    stalled = Connection(server, "/v1/completions", None)
    assert (await server.client.post("/v1/completions", json=ASK)).status_code == 200
    await asyncio.wait_for(stalled.task, 5)
    assert stalled.status == 408
    assert b"body_timeout" in stalled.body


async def test_a_reader_that_stops_reading_does_not_hold_a_place_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    server.script.delay_s = 0.001
    await server.client.post("/v1/completions", json=ASK)
    stuck = Connection(server, "/v1/completions", {**ASK, "stream": True})
    stuck.may_read.clear()
    await until(lambda: stuck.offered > 0)
    others = await asyncio.gather(*(server.client.post("/v1/completions", json=ASK) for _ in range(5)))
    assert {answer.status_code for answer in others} == {200}
    let_pass(server.replica.service.work.deadline_s, monkeypatch)
    await stuck.task
    assert server.replica.service.gate.used == 0


async def test_events_that_come_close_together_share_a_write_and_the_end_waits_for_nothing(server: Server):
    server.replica.service.work.apart_s = 3600.0
    await server.client.post("/v1/completions", json=ASK)
    server.script.delay_s = 0.001
    server.script.write = lambda model, seed: " a b c d" * 5
    connection = Connection(server, "/v1/completions", {**ASK, "stream": True})
    await asyncio.wait_for(connection.task, 20)
    assert connection.body.count(b"data: {") > 20
    assert connection.body.endswith(b"data: [DONE]\n\n")
    assert len(connection.sent) == 4, "the head, the first event, all others, and the end"


async def test_a_silent_stream_sends_heartbeats(server: Server):
    server.replica.service.work.heartbeat_s = 0.05
    await server.client.post("/v1/completions", json=ASK)
    server.script.gate = asyncio.Event()
    connection = Connection(server, "/v1/probe/solve", {"model": "latest", "problem": {"op": 3}})
    await until(lambda: connection.body.count(b": beat\n\n") >= 2)
    server.script.gate.set()
    await connection.task
    assert connection.body.endswith(b"data: [DONE]\n\n")
