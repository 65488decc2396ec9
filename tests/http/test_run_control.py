"""A live run is shown with its workers, scaled and stopped over HTTP, and every refusal is said in words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.runs.live import STOPPING
from serving.schemas import MAX_WORKERS
from tests.http.conftest import Server
from tests.http.test_endings import Connection, seen_to_leave
from tests.http.test_models import until
from tests.runs import tell_live, worker_told, write_run

SCALE, STOP = "/v1/admin/runs/demo/scale", "/v1/admin/runs/demo/stop"


@pytest.fixture
def live(run_dir: Path) -> Path:
    """The served run, live with two rollout workers and a reward worker."""
    write_run(run_dir, 5)
    workers = worker_told("rollout-0.1"), worker_told("rollout-1.3", "syncing", None, 1), worker_told("reward-0.1")
    tell_live(run_dir, *workers)
    return run_dir


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_live_run_is_shown_with_its_workers_and_only_an_admin_key_may_change_it(server: Server, live: Path):
    at = (await server.client.get("/v1/runs/demo")).json()
    shown = [(w["name"], w["state"], w["weight_version"], w["failures"]) for w in at["live"]["fleet"]["workers"]]
    assert shown == [("rollout-0.1", "ready", 5, 0), ("rollout-1.3", "syncing", None, 1), ("reward-0.1", "ready", 5, 0)]
    assert at["controls"] is True
    for key in (server.keys.read, server.keys.probe):
        async with server.as_key(key) as client:
            at = (await client.get("/v1/runs/demo")).json()
            assert (at["live"]["stage"], at["controls"]) == ("rl", False)
            for place in (SCALE, STOP):
                assert (await client.post(place, json={"rollout_workers": 2})).status_code == 403
    assert server.control.asked == []


async def test_a_run_is_scaled_and_stopped(server: Server, live: Path):
    answer = await server.client.post(SCALE, json={"rollout_workers": 3})
    assert (answer.status_code, answer.json()) == (200, {"rollout_workers": 3, "reward_workers": None})
    await server.client.post(SCALE, json={"rollout_workers": 1, "reward_workers": 2})
    stopped = await server.client.post(STOP, json={})
    assert (stopped.status_code, stopped.json()) == (200, {"state": "stopping"})
    assert server.control.asked == [("scale", "demo", 3, None), ("scale", "demo", 1, 2), ("stop", "demo")]
    assert (await server.client.get("/v1/runs/demo")).json()["live"]["stopping"] is True


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"rollout_workers": None, "reward_workers": None}, None),
        ({"rollout_workers": 0}, "rollout_workers"),
        ({"rollout_workers": -1, "reward_workers": 1}, "rollout_workers"),
        ({"reward_workers": MAX_WORKERS + 1}, "reward_workers"),
        ({"reward_workers": 2.5}, "reward_workers"),
        ({"reward_workers": "2"}, "reward_workers"),
        ({"rollout_workers": True}, "rollout_workers"),
        ({"rollout_workers": 2, "run_dir": "/"}, "run_dir"),
    ],
)
async def test_a_number_that_cannot_be_is_refused_by_name(
    server: Server, live: Path, body: dict[str, Any], param: str | None
):
    answer = await server.client.post(SCALE, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert server.control.asked == []


async def test_a_run_that_is_not_live_or_stops_already_is_left_alone(server: Server, run_dir: Path):
    for place, body in ((SCALE, {"rollout_workers": 2}), (STOP, {})):
        assert code_of(await server.client.post(place, json=body)) == (409, "not_live")
        missing = await server.client.post(place.replace("demo", "nowhere"), json=body)
        assert code_of(missing) == (404, "run_not_found")
    tell_live(run_dir, worker_told("rollout-0.1"), ago=120)
    assert code_of(await server.client.post(STOP, json={})) == (409, "not_live")
    tell_live(run_dir, worker_told("rollout-0.1"))
    (run_dir / STOPPING).touch()
    for place, body in ((SCALE, {"rollout_workers": 2}), (STOP, {})):
        assert code_of(await server.client.post(place, json=body)) == (409, "already_stopping")
    assert server.control.asked == []


async def test_a_run_before_its_first_workers_can_be_stopped_but_not_scaled(server: Server, run_dir: Path):
    tell_live(run_dir)
    assert code_of(await server.client.post(SCALE, json={"rollout_workers": 2})) == (409, "no_workers")
    assert (await server.client.post(STOP, json={})).status_code == 200
    assert server.control.asked == [("stop", "demo")]


async def test_a_run_that_does_not_take_it_is_said_to_in_words(server: Server, live: Path):
    server.control.refusal = "no answer in 45 s"
    for place, body in ((SCALE, {"rollout_workers": 2}), (STOP, {})):
        answer = await server.client.post(place, json=body)
        assert code_of(answer) == (503, "not_reached")
        assert "the run did not take it: no answer in 45 s" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "5"


async def test_one_change_is_made_at_a_time(server: Server, live: Path, monkeypatch: pytest.MonkeyPatch):
    import threading

    begun, go = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        assert go.wait(60)

    monkeypatch.setattr(server.control, "scale", slow)
    gone = Connection(server, SCALE, {"rollout_workers": 2}, server.keys.admin)
    await asyncio.to_thread(begun.wait, 60)
    gone.left.set()
    await until(lambda: seen_to_leave(server) == 1)
    assert code_of(await server.client.post(STOP, json={})) == (409, "busy"), "its change is still on its way"
    go.set()
    await gone.task
    begun.clear()
    go.clear()
    first = asyncio.create_task(server.client.post(SCALE, json={"rollout_workers": 2}))
    await asyncio.to_thread(begun.wait, 60)
    assert code_of(await server.client.post(STOP, json={})) == (409, "busy")
    go.set()
    assert (await first).status_code == 200
    assert (await server.client.post(STOP, json={})).status_code == 200
