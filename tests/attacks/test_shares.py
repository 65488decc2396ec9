"""Keys that take all they can: places, the queue and budgets are shared, and nobody polite is kept out."""

from __future__ import annotations

import asyncio
import json

import pytest

from serving import limits
from tests.http.conftest import Server
from tests.http.test_endings import Connection
from tests.http.test_models import until

ASK = {"model": "latest", "prompt": "a"}


async def test_a_request_pays_for_every_sample_of_every_problem(serve):
    server: Server = serve(tokens_per_minute=1000)
    body = {"model": "latest", "problem": {"op": 3}, "samples": 4, "problems": 2, "max_tokens": 100, "ks": [1]}
    first = await server.client.post("/v1/probe/pass-at-k", json={**body, "stream": False})
    assert first.status_code == 200
    second = await server.client.post("/v1/probe/pass-at-k", json={**body, "stream": False})
    assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    async with server.as_key(server.keys.probe) as other:
        assert (await other.post("/v1/completions", json={**ASK, "max_tokens": 900})).status_code == 200


async def test_reading_requests_spend_the_rate_too(serve):
    server = serve(rate_per_minute=60, burst=3)
    server.replica.app._rate._clock = lambda: 0.0  # four requests in no time, however slow the machine is
    answers = [await server.client.get("/version") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


async def test_a_long_probe_yields_to_another_key_between_its_samples(serve):
    server = serve(running=2, queued=8)
    server.script.delay_s = 0.002
    body = {"model": "latest", "problem": {"op": 3}, "samples": 16, "problems": 8, "ks": [1]}
    probe = Connection(server, "/v1/probe/pass-at-k", body, server.keys.admin)
    await until(lambda: server.replica.service.gate.used == 2)
    async with server.as_key(server.keys.probe) as other:
        answers = [await other.post("/v1/completions", json=ASK) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert probe.body.count(b"event: sample") < 8 * 16, "the others did not have to wait for its end"
    probe.left.set()
    await probe.task


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_of_many_samples_costs_no_more_tasks_than_there_are_places(serve, stream: bool):
    server = serve(running=4)
    await server.client.post("/v1/completions", json=ASK)
    server.script.gate = asyncio.Event()
    before = len(asyncio.all_tasks())
    large = Connection(
        server, "/v1/completions", {**ASK, "prompt": ["a"] * 16, "n": 64, "max_tokens": 2, "stream": stream}
    )
    await until(lambda: server.replica.service.gate.used == 4)
    assert len(asyncio.all_tasks()) - before < 16
    server.script.gate.set()
    await large.task
    assert large.status == 200
    assert len(large.body) > 1024


async def test_an_unread_stream_frees_its_places_when_its_texts_are_written(server: Server):
    stuck = Connection(server, "/v1/completions", {**ASK, "n": 64, "stream": True})
    stuck.may_read.clear()
    await until(lambda: len(server.script.started) == 1 and server.replica.service.gate.used == 0)
    assert not stuck.task.done()
    stuck.may_read.set()
    await stuck.task
    assert stuck.body.endswith(b"data: [DONE]\n\n")


async def test_a_stream_that_outgrows_what_may_wait_unread_ends(serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "UNREAD_ANSWER_S", 0.2)
    monkeypatch.setattr(limits, "MAX_UNREAD_ANSWER_BYTES", 20_000)
    server = serve()
    server.script.write = lambda model, seed: " a b c d" * 100
    stuck = Connection(server, "/v1/completions", {**ASK, "n": 8, "max_tokens": 400, "stream": True})
    stuck.may_read.clear()
    await until(lambda: server.script.open > 0)
    await until(lambda: server.replica.service.gate.used == 0)
    assert server.script.aborted > 0
    stuck.may_read.set()
    await stuck.task
    last = stuck.body.rstrip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "read_timeout"


async def test_a_long_probe_makes_a_bounded_number_of_estimates(server: Server):
    body = {"model": "latest", "problem": {"op": 2}, "samples": 20, "problems": 20, "ks": [1], "max_tokens": 8}
    text = (await server.client.post("/v1/probe/pass-at-k", json=body)).text
    assert text.count("event: sample") == 400
    assert 64 <= text.count("event: estimate") < 128
