"""Keys that take all they can: places, the queue and budgets are shared, and nobody polite is kept out."""

from __future__ import annotations

import asyncio
import json

import pytest

from serving import limits
from serving.http.admission import Budget, Caller, Gate
from serving.http.errors import TooManyRequests, Unavailable
from tests.http.conftest import Server
from tests.http.test_endings import Connection
from tests.http.test_models import until

FLOOD, POLITE = Caller("flood"), Caller("polite")
ASK = {"model": "latest", "prompt": "a"}


class Holder:
    """A request that is in, or waits to be, and leaves when told to."""

    def __init__(self, gate: Gate, caller: Caller, cost: int = 100) -> None:
        self.inside = False
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._hold(gate, caller, cost))

    async def _hold(self, gate: Gate, caller: Caller, cost: int) -> None:
        async with gate.enter(caller, cost) as ticket, ticket.place():
            self.inside = True
            await self.go.wait()
        self.inside = False


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_key_that_holds_every_place_leaves_another_its_reserve_at_once():
    gate = Gate(running=8, queued=16)
    flood = [Holder(gate, FLOOD) for _ in range(20)]
    await settle()
    assert (gate.used, gate.depth) == (8, 12)
    polite = [Holder(gate, POLITE) for _ in range(4)]
    await settle()
    assert [one.inside for one in polite] == [True, True, False, False], "half of a fair share of 4"
    assert gate.used == 10
    for one in (*flood, *polite):
        one.go.set()
    await asyncio.gather(*(one.task for one in (*flood, *polite)))
    assert (gate.used, gate.depth) == (0, 0)


async def test_places_that_come_free_go_to_the_keys_in_turn_by_tokens_and_weight():
    async def order(first: Caller, second: Caller, costs: tuple[int, int]) -> list[str]:
        gate, came = Gate(running=1, queued=100), []
        blocker = Holder(gate, Caller("blocker"))
        await settle()

        async def ask(caller: Caller, cost: int) -> None:
            async with gate.enter(caller, cost) as ticket, ticket.place():
                came.append(caller.key)

        tasks = [asyncio.create_task(ask(first, costs[0])) for _ in range(12)]
        tasks += [asyncio.create_task(ask(second, costs[1])) for _ in range(12)]
        await settle()
        blocker.go.set()
        await asyncio.gather(*tasks)
        return came[:12]

    assert (await order(FLOOD, POLITE, (10, 10))).count("polite") == 6
    assert (await order(FLOOD, POLITE, (30, 10))).count("polite") == 9
    assert (await order(FLOOD, Caller("polite", weight=3), (10, 10))).count("polite") == 9


async def test_a_full_queue_turns_out_the_newest_of_the_longest_line_and_no_polite_request():
    gate = Gate(running=2, queued=6)
    flood = [Holder(gate, FLOOD) for _ in range(8)]
    await settle()
    with pytest.raises(Unavailable):
        gate.require_room(FLOOD)
    held = Holder(gate, POLITE)
    await settle()
    polite = [Holder(gate, POLITE) for _ in range(2)]
    await settle()
    assert gate.depth == 6
    out = [one for one in flood if one.task.done()]
    assert out == flood[-len(out) :]
    assert all(isinstance(one.task.exception(), Unavailable) for one in out)
    assert not any(one.task.done() for one in (held, *polite))
    for one in (*flood, held, *polite):
        one.go.set()
    await asyncio.gather(*(one.task for one in (*flood, held, *polite)), return_exceptions=True)
    assert all(one.task.exception() is None for one in (held, *polite))
    assert (gate.used, gate.depth) == (0, 0)


async def test_requests_that_leave_while_they_wait_leave_no_place_taken():
    gate = Gate(running=2, queued=50)
    asked = [Holder(gate, caller) for caller in (FLOOD, POLITE) * 10]
    await settle()
    for one in asked[1::3]:
        one.task.cancel()
    for one in asked:
        one.go.set()
    await asyncio.gather(*(one.task for one in asked), return_exceptions=True)
    assert (gate.used, gate.depth) == (0, 0)
    assert await gate.drain(1.0)


def test_a_budget_pays_for_tokens_and_fills_again():
    now = 0.0
    budget = Budget("token", per_minute=600, burst=600, clock=lambda: now)
    budget.take("a", 500)
    budget.take("b", 600)
    with pytest.raises(TooManyRequests) as refused:
        budget.take("a", 200)
    assert refused.value.retry_after_s == 10
    now = 10.0
    budget.take("a", 200)
    now = 1000.0
    budget.take("a", 10_000)


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


async def test_an_unread_stream_frees_its_places_when_its_texts_are_written(server: Server):
    stuck = Connection(server, "/v1/completions", {**ASK, "n": 64, "stream": True})
    stuck.may_read.clear()
    await until(lambda: len(server.script.started) == 1 and server.script.open > 0)
    await until(lambda: server.replica.service.gate.used == 0)
    assert not stuck.task.done()
    stuck.may_read.set()
    await stuck.task
    assert stuck.body.endswith(b"data: [DONE]\n\n")


async def test_a_stream_that_outgrows_what_may_wait_unread_ends(serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "UNREAD_ANSWER_S", 0.2)
    monkeypatch.setattr(limits, "MAX_UNREAD_BYTES", 20_000)
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
