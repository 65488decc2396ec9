"""Clients that ask for work of the server's own and hang up, or ask for it without end: nobody else pays for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.desk import QUEUED, Desk
from serving.http.admission import Caller, Gate
from serving.probe import task_process
from serving.runs import kept, routes
from tests.http.conftest import Server
from tests.http.test_endings import Connection, seen_to_leave
from tests.http.test_models import until
from tests.http.test_task import OWN
from tests.runs import write_run
from verifier.judgement import Judgement

ITEM = {"stratum": "kind=only", "seed": 7}
TASK = {"family": "python", "object": "their_left_task:Steps"}
ROLLOUTS = "/v1/runs/demo/rollouts"


@pytest.fixture
def with_task(serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    """A function that makes servers of the user's own task."""
    (tmp_path / "their_left_task.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda **settings: serve(task=TASK, **settings)


class HeldJudge:
    """A judge that waits to be let go, and the texts that it was asked about."""

    def __init__(self, server: Server) -> None:
        assert server.replica.task is not None
        self.task = server.replica.task._task
        self.process = server.replica.task._process
        self.process._ask = self._ask
        self.asked: list[str] = []
        self.go = threading.Event()

    @property
    def waiting(self) -> int:
        """Requests in the judge's line."""
        return self.process._desk._gate.depth

    def _ask(self, *order: Any) -> object:
        work, args, _ = order
        if work is task_process._made:
            stratum, seed = args
            return self.task.item(stratum, seed, 0, "test")
        _, text = args
        self.asked.append(text)
        assert self.go.wait(60)
        return Judgement(right=True, partial=1.0)


def verify(server: Server, text: str) -> Connection:
    return Connection(server, "/v1/probe/verify", {"item": ITEM, "text": text})


async def test_the_next_client_gets_its_own_judgement_and_not_that_of_one_who_left(
    with_task: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
):
    server = with_task()
    assert server.replica.task is not None
    process, sent, go = server.replica.task._process, threading.Event(), threading.Event()
    ask, receive = process._ask, process._received

    def asked(work: Any, *of: Any) -> object:
        if work is task_process._judged and not sent.is_set():
            monkeypatch.setattr(process, "_received", held)
        return ask(work, *of)

    def held(*of: Any) -> object:
        monkeypatch.setattr(process, "_received", receive)
        sent.set()
        assert go.wait(60)
        return receive(*of)

    monkeypatch.setattr(process, "_ask", asked)
    server.script.write = lambda model, seed: " 8"
    gone = Connection(server, "/v1/probe/solve", {"model": "latest", "item": ITEM, "stream": False})
    await asyncio.to_thread(sent.wait, 60)  # its text is with the judge, whose answer nobody takes yet
    gone.left.set()
    await until(lambda: seen_to_leave(server) == 1)
    answer = asyncio.create_task(server.client.post("/v1/probe/verify", json={"item": ITEM, "text": "7"}))
    await until(lambda: answer.done() or process._desk._gate.depth == 1)
    go.set()
    assert (await answer).json()["judgement"]["answer"] == "7"
    await gone.task


async def test_texts_of_clients_that_have_gone_are_not_judged(with_task: Callable[..., Server]):
    server = with_task()
    judge = HeldJudge(server)
    crowd = [verify(server, "gone")]
    await until(lambda: judge.asked == ["gone"])
    crowd += [verify(server, "gone") for _ in range(9)]
    await until(lambda: judge.waiting == 9)
    for one in crowd:
        one.left.set()
    await until(lambda: judge.waiting == 0)
    judge.go.set()
    await asyncio.gather(*(one.task for one in crowd))
    assert judge.asked == ["gone"]


async def test_keys_take_turns_at_the_judge_and_a_full_line_refuses_the_one_that_asks_for_most(
    with_task: Callable[..., Server],
):
    server = with_task()
    judge = HeldJudge(server)
    crowd = [verify(server, "greedy")]
    await until(lambda: judge.asked == ["greedy"])
    crowd += [verify(server, "greedy") for _ in range(QUEUED)]
    await until(lambda: judge.waiting == QUEUED)
    refused = await server.as_key(server.keys.probe).post("/v1/probe/verify", json={"item": ITEM, "text": "greedy"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
    polite = asyncio.create_task(server.client.post("/v1/probe/verify", json={"item": ITEM, "text": "polite"}))
    await until(lambda: any(one.task.done() for one in crowd))
    judge.go.set()
    assert (await polite).status_code == 200
    await asyncio.gather(*(one.task for one in crowd))
    assert judge.asked.index("polite") <= 3, "it has two turns, one for its item and one for its judgement"
    assert {one.status for one in crowd} == {200, 503}


async def test_who_waits_for_the_judge_is_told_at_the_deadline_and_not_judged(with_task: Callable[..., Server]):
    server = with_task()
    judge = HeldJudge(server)
    first = verify(server, "first")
    await until(lambda: judge.asked == ["first"])
    server.replica.service.work.deadline_s = 0.5  # of those who come from now on
    late = await server.client.post("/v1/probe/verify", json={"item": ITEM, "text": "late"})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
    judge.go.set()
    await first.task
    assert judge.asked == ["first"]


@asynccontextmanager
async def held_reading(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[list[int], threading.Event]]:
    """Readings of a run's kept steps, which wait to be let go, by their numbers."""
    read, go, steps = list[int](), threading.Event(), kept.steps

    def slow(run_dir: Path) -> object:
        read.append(len(read))
        assert go.wait(60)
        return steps(run_dir)

    monkeypatch.setattr(kept, "steps", slow)
    try:
        yield read, go
    finally:
        go.set()


async def test_rollouts_are_not_read_for_clients_that_have_gone_and_keys_take_turns(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
):
    desks: list[Desk] = []
    monkeypatch.setattr(routes, "Desk", lambda engines: desks.append(Desk(engines)) or desks[-1])
    server = serve()
    (reader,) = desks
    async with held_reading(monkeypatch) as (read, go):
        flood = [Connection(server, ROLLOUTS, method="GET") for _ in range(20)]
        await until(lambda: len(read) == 1 and reader._gate.depth == 19)
        for one in flood[:10]:
            one.left.set()
        await until(lambda: reader._gate.depth == 10)
        polite = asyncio.create_task(server.client.get(ROLLOUTS))
        await until(lambda: reader._gate.depth == 11)
        go.set()
        assert (await polite).status_code == 200
        assert len(read) <= 3, "the one under way, and one or none of the other key's"
        await asyncio.gather(*(one.task for one in flood))
        assert len(read) == 1 + 10 + 1


async def test_a_full_line_of_readers_refuses_the_key_that_asks_for_most(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    async with held_reading(monkeypatch) as (_, go):
        flood = [Connection(server, ROLLOUTS, method="GET") for _ in range(QUEUED + 6)]
        await until(lambda: sum(one.task.done() for one in flood) == 5)
        assert {one.status for one in flood if one.task.done()} == {503}
        go.set()
        await asyncio.gather(*(one.task for one in flood))


async def test_a_piece_that_has_begun_ends_before_the_next_though_its_clients_leave():
    at_once = most = 0
    desk, ends = Desk(Gate(1, 1)), threading.Event()

    def piece() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        ends.wait(60)
        at_once -= 1

    gone = []
    for _ in range(5):
        gone.append(asyncio.create_task(desk.begin(Caller("greedy"), piece)))
        await until(lambda: at_once == len(gone) or desk._gate.depth == 1)
        gone[-1].cancel()
        await asyncio.sleep(0)
    ends.set()
    await asyncio.gather(*gone, return_exceptions=True)
    assert most == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/probe/problems", {"op": 2}),
        ("/v1/probe/items", ITEM),
        ("/v1/probe/verify", {"problem": {"op": 2}, "text": "a"}),
        ("/v1/probe/verify", {"item": ITEM, "text": "a"}),
        ("/v1/probe/draw", {"problem": {"op": 2}}),
        ("/v1/probe/solve", {"problem": {"op": 2}, "model": "latest"}),
        ("/v1/runs", None),
        ("/v1/runs/demo", None),
        ("/v1/runs/demo/metrics", None),
        ("/v1/runs/demo/findings", None),
        ("/v1/runs/demo/changes", None),
        ("/v1/runs/demo/events", None),
        ("/v1/runs/demo/traces?stratum=a&fate=lost", None),
        (ROLLOUTS, None),
        (f"{ROLLOUTS}/rl/1", None),
        (f"{ROLLOUTS}/rl/1/0", None),
    ],
)
async def test_a_server_that_drains_begins_no_work(
    with_task: Callable[..., Server], run_dir: Path, path: str, body: dict[str, Any] | None
):
    write_run(run_dir, 3)
    server = with_task()
    await server.replica.drain()
    client = server.client
    answer: httpx.Response = await (client.get(path) if body is None else client.post(path, json=body))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining")
