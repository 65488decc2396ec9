"""Work of the server's own that a key asks for without end: problems made, drawn and judged."""

from __future__ import annotations

import asyncio
import threading

import pytest

from serving.desk import QUEUED, Desk
from serving.http.admission import Caller, Gate
from serving.http.errors import Unavailable
from serving.probe.bodies.problems import ProblemTexts
from serving.probe.problems import _prepared, posed_texts
from serving.threads import in_thread
from tests.http.conftest import Server
from verifier.graphs.generate import generate
from verifier.graphs.problem import ProblemSpec

GREEDY, POLITE = Caller("greedy"), Caller("polite")


class Work:
    """Pieces that wait to be let go, and who has been done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.at_once = 0
        self.most = 0
        self.go = threading.Event()

    def piece(self, name: str) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.go.wait(60)
        self.done.append(name)
        self.at_once -= 1


async def test_one_piece_is_done_at_a_time_and_keys_take_turns():
    work, desk = Work(), Desk(Gate(1, 1))
    flood = [asyncio.create_task(desk.begin(GREEDY, work.piece, "greedy")) for _ in range(20)]
    await asyncio.sleep(0.05)
    polite = [asyncio.create_task(desk.begin(POLITE, work.piece, "polite")) for _ in range(2)]
    await asyncio.sleep(0.05)
    work.go.set()
    await asyncio.gather(*flood, *polite)
    assert work.most == 1
    assert work.done[:5].count("polite") == 2


async def test_a_full_desk_refuses_the_key_that_asks_for_most():
    work, desk = Work(), Desk(Gate(1, 1))
    flood = [asyncio.create_task(desk.begin(GREEDY, work.piece, "greedy")) for _ in range(2 * QUEUED)]
    await asyncio.sleep(0.05)
    polite = asyncio.create_task(desk.begin(POLITE, work.piece, "polite"))
    further = asyncio.create_task(desk.go_on(GREEDY, work.piece, "further"))
    await asyncio.sleep(0.05)
    work.go.set()
    ended = await asyncio.gather(*flood, return_exceptions=True)
    assert {type(one) for one in ended} == {type(None), Unavailable}
    await polite
    await further
    assert len(work.done) <= QUEUED + 3


ASK = {"problem": {"op": 2}, "model": "latest"}
GIVEN = " Define x as A; so A = 3. Define y as B; so B = 4"


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("/v1/probe/problems", {"op": 2}, 1),
        ("/v1/probe/draw", {"problem": {"op": 2}}, 1),
        ("/v1/probe/verify", {"problem": {"op": 2}, "text": "a"}, 2),
        ("/v1/probe/solve", {**ASK, "stream": False}, 2),
        ("/v1/probe/solve", ASK, 2 + 2),  # as its only step begins, and as it ends
        ("/v1/probe/continue", {**ASK, "prefix": GIVEN, "stream": False}, 3),
        ("/v1/probe/continue", {**ASK, "prefix": GIVEN}, 3 + 1 + 2),
        ("/v1/probe/compare", {"problem": {"op": 2}, "models": ["demo@1", "demo@2"]}, 3),
        ("/v1/probe/pass-at-k", {**ASK, "problems": 2, "samples": 2, "ks": [1]}, 2 + 4 + 4 + 1),
        (
            "/v1/probe/recovery",
            {"problem": {"op": 2}, "models": ["latest"], "samples": 2, "alternatives": ["value"]},
            2 + 1 + 2 * 2,
        ),
    ],
)
async def test_every_route_with_work_of_its_own_goes_to_the_desk(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str, body: dict, wanted: int
):
    turns = 0

    async def counted(function, *args, **kwargs):
        nonlocal turns
        turns += 1
        return await in_thread(function, *args, **kwargs)

    monkeypatch.setattr("serving.desk.in_thread", counted)
    answer = await server.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert turns == wanted


def test_long_texts_of_a_client_are_not_remembered():
    made = generate(ProblemSpec(3), 1)
    _prepared.cache_clear()
    texts = ProblemTexts(problem=made.problem, question=made.question, solution=made.solution)
    posed_texts(texts)
    assert _prepared.cache_info().currsize == 1
    posed_texts(texts.model_copy(update={"problem": made.problem + " " * 20_000}))
    assert _prepared.cache_info().currsize == 1
