"""The routes of runs: what they answer, how they follow a live run, and what they say of one that is gone or odd."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.runs.log import RunLog
from actors.runs.series import POINTS
from serving.desk import Desk
from serving.http.admission import Caller, Gate
from serving.http.errors import NotFound, Unavailable
from serving.runs import routes
from serving.runs.bodies import ChangedEvent, StepsEvent
from serving.runs.changes import MAX_SHOWN
from serving.runs.curves import steps_after
from serving.runs.following import FollowedRun, ServedRuns
from serving.runs.watch import MOST_NEW, Watch
from serving.schemas import MAX_WATCHERS
from tests.http.conftest import Server
from tests.http.test_endings import Connection
from tests.http.test_models import until
from tests.http.test_probe import events_of
from tests.judgements import verified
from tests.runs import append, step_event, write_run
from verifier.judgement import to_record


@pytest.fixture
def live(run_dir: Path) -> Path:
    """The served run with a log of five steps."""
    return write_run(run_dir, 5)


CALLER = Caller("test")


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class CountingLog(RunLog):
    """Counts how often the file is looked at."""

    looks = 0

    def read(self) -> None:
        self.looks += 1
        super().read()


async def test_a_run_is_listed_and_shown_with_its_stages_and_workers(server: Server, live: Path):
    (card,) = (await server.client.get("/v1/runs")).json()["data"]
    assert (card["name"], card["updated"]) == ("demo", 1.7e9 + 5)
    (stage,) = card["stages"]
    assert (stage["name"], stage["kind"], stage["step"], stage["steps"]) == ("rl", "rl", 5, 5)
    run = (await server.client.get("/v1/runs/demo")).json()
    assert [worker["name"] for worker in run["workers"]] == ["rollout-0.1"]
    assert run["left_out"] == 0


async def test_metrics_are_columns_and_a_range_of_steps(server: Server, live: Path):
    whole = (await server.client.get("/v1/runs/demo/metrics")).json()
    assert whole["curves"]["reward"]["steps"] == [1, 2, 3, 4, 5]
    assert {stratum["name"] for stratum in whole["strata"]} == {"op=4", "op=5"}
    part = (await server.client.get("/v1/runs/demo/metrics?stage=rl&first=2&last=3")).json()
    assert part["curves"]["reward"]["steps"] == [2, 3]
    assert part["strata"][0]["share"]["steps"] == [2, 3]
    assert (part["first"], part["last"], part["steps"]) == (2, 3, 2)


async def test_ten_thousand_steps_are_at_most_a_thousand_points_a_curve_and_a_range_of_them_is_whole(
    server: Server, run_dir: Path
):
    write_run(run_dir, 10_000)
    answer = await server.client.get("/v1/runs/demo/metrics")
    body = answer.json()
    assert body["steps"] == 10_000
    assert max(len(curve["steps"]) for curve in body["curves"].values()) <= POINTS
    assert len(answer.content) < 1_500_000
    near = (await server.client.get("/v1/runs/demo/metrics?first=5000&last=5899")).json()
    assert near["curves"]["reward"]["steps"] == list(range(5000, 5900))


async def test_findings_are_told_in_words(server: Server, live: Path):
    assert (await server.client.get("/v1/runs/demo/findings")).json() == {"data": []}
    append(live, *(step_event(step, 20, truncated=0.5) for step in range(6, 10)))
    await asyncio.sleep(1.1)
    (finding,) = (await server.client.get("/v1/runs/demo/findings")).json()["data"]
    assert (finding["name"], finding["since"], finding["docs"]) == ("never-ending", 6, "docs/diagnosis.md#never-ending")
    assert "0.5 of the completions are cut off" in finding["line"]


async def test_a_name_that_is_no_run_is_no_path(server: Server, live: Path):
    for name in ("nowhere", "%2e%2e", "demo%2F..%2Fdemo", "x" * 65):
        for room in (
            "",
            "/metrics",
            "/findings",
            "/events",
            "/rollouts",
            "/rollouts/rl/1",
            "/rollouts/rl/1/0",
            "/traces",
        ):
            answer = await server.client.get(f"/v1/runs/{name}{room}")
            assert answer.status_code in (400, 404), answer.text
            assert str(live.parent) not in answer.text


async def test_stages_and_ranges_that_are_not_there_are_named(server: Server, live: Path):
    missing = await server.client.get("/v1/runs/demo/metrics?stage=../rl")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "stage_not_found")
    below = await server.client.get("/v1/runs/demo/metrics?first=-1")
    assert (below.status_code, below.json()["error"]["param"]) == (400, "first")
    beyond = (await server.client.get("/v1/runs/demo/metrics?first=90&last=99")).json()
    assert (beyond["steps"], beyond["curves"]) == (0, {})


async def test_a_run_without_a_log_has_no_stages_yet(server: Server):
    assert (await server.client.get("/v1/runs")).json()["data"] == [{"name": "demo", "updated": None, "stages": []}]
    assert (await server.client.get("/v1/runs/demo/metrics")).status_code == 404
    assert (await server.client.get("/v1/runs/demo/events")).json()["error"]["code"] == "stage_not_found"


async def test_changes_are_those_of_the_report(server: Server, live: Path):
    place = "/v1/runs/demo/changes"
    assert (await server.client.get(place)).json() == {"data": []}
    pair = {"before": 1.0, "after": None}
    change = {"problems": 4, "gained": 2, "lost": 1, "kept": 1, "never": 0}
    change |= {"errors": {"missing": pair}, "first_error": pair, "traces": pair}
    for report, data in (({"changed": {"op 3": change}}, [{"stratum": "op 3", **change}]), ({"gain": None}, [])):
        (live / "report.json").write_text(json.dumps(report))
        assert (await server.client.get(place)).json() == {"data": data}
    for text in ("{", "[]", '{"changed": {"op 3": {}}}', '{"changed": [1]}'):
        (live / "report.json").write_text(text)
        assert (await server.client.get(place)).json()["error"]["code"] == "other_form"


async def test_the_problems_behind_a_count_are_those_of_the_report_with_both_texts(server: Server, live: Path):
    place = "/v1/runs/demo/traces"
    asked = {"stratum": "op 3", "fate": "lost"}
    assert (await server.client.get(place, params=asked)).json() == {"total": 0, "data": []}
    judgement = to_record(verified(False))
    side = {"right": 1, "samples": 8, "text": "Define it.", "judgement": judgement}
    told = {"fate": "lost", "prompt": "How many?", "before": {**side, "right": 7}, "after": side}
    (live / "changed.json").write_text(json.dumps({"op 3": [told] * (MAX_SHOWN + 1) + [{**told, "fate": "kept"}]}))
    body = (await server.client.get(place, params=asked)).json()
    assert (body["total"], len(body["data"])) == (MAX_SHOWN + 1, MAX_SHOWN)
    first = body["data"][0]
    assert (first["prompt"], first["before"]["right"], first["after"]["right"]) == ("How many?", 7, 1)
    assert first["after"]["judgement"]["verified"] is False
    for other in ({"stratum": "op 3", "fate": "never"}, {"stratum": "op 9", "fate": "lost"}):
        assert (await server.client.get(place, params=other)).json()["total"] == 0
    for wrong, param in (
        ({"fate": "lost"}, "stratum"),
        ({"stratum": "op 3"}, "fate"),
        ({**asked, "fate": "won"}, "fate"),
    ):
        answer = await server.client.get(place, params=wrong)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    for text in ("{", "[]", '{"op 3": [{"fate": "lost"}]}', '{"op 3": 4}'):
        (live / "changed.json").write_text(text)
        assert (await server.client.get(place, params=asked)).json()["error"]["code"] == "other_form"


async def test_a_run_that_has_gone_leaves_the_others_in_the_list(serve: Callable, live: Path):
    other = write_run(live.parent / "other", 3)
    server = serve(run_dirs=[live, other])
    shutil.rmtree(other)
    assert [card["name"] for card in (await server.client.get("/v1/runs")).json()["data"]] == ["demo"]
    assert (await server.client.get("/v1/runs/other")).json()["error"]["code"] == "run_gone"


async def test_a_run_whose_log_cannot_be_read_leaves_the_others_in_the_list(serve: Callable, live: Path):
    other = write_run(live.parent / "other", 3)
    (other / "metrics.jsonl").unlink()
    (other / "metrics.jsonl").mkdir()
    server = serve(run_dirs=[live, other])
    assert [card["name"] for card in (await server.client.get("/v1/runs")).json()["data"]] == ["demo"]
    error = (await server.client.get("/v1/runs/other")).json()["error"]
    assert (error["code"], str(live.parent) in error["message"]) == ("log_not_read", False)


async def test_no_answer_holds_the_folder_of_the_run(server: Server, live: Path):
    with (live / "metrics.jsonl").open("a") as file:
        file.write("damaged\n")
    for room in ("", "/demo", "/demo/metrics", "/demo/findings"):
        answer = await server.client.get(f"/v1/runs{room}")
        assert answer.status_code == 200
        assert str(live.parent) not in answer.text
    assert (await server.client.get("/v1/runs/demo")).json()["left_out"] == 1


async def test_a_stream_ends_by_itself_before_the_deadline_and_says_where_to_go_on(
    server: Server, live: Path, monkeypatch: pytest.MonkeyPatch
):
    clock = itertools.count(step=16.0)  # it goes on by so many seconds whenever it is looked at
    monkeypatch.setattr(routes, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    answer = await server.client.get("/v1/runs/demo/events?after=3")
    assert next(clock) - 16.0 < server.replica.service.work.deadline_s
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events_of(answer.text)
    assert [name for name, _ in told] == ["steps", "done"]
    assert told[0][1]["steps"] == [4, 5]
    assert told[0][1]["strata"]["op=4"]["share"] == [0.5, 0.5]
    assert told[1][1] == {"after": 5}


async def watching(server: Server) -> Connection:
    """A client that follows the run and has been told its steps."""
    one = Connection(server, "/v1/runs/demo/events", method="GET")
    await until(lambda: b"event: steps" in one.body)
    return one


async def test_a_run_that_vanishes_while_it_is_watched_ends_the_stream_in_words(server: Server, live: Path):
    one = await watching(server)
    shutil.rmtree(live)
    await one.task
    told = events_of(one.body.decode())
    assert [name for name, _ in told] == ["steps", "error"]
    assert told[1][1]["error"]["code"] == "run_gone"
    assert str(live.parent) not in told[1][1]["error"]["message"]


async def test_a_server_that_drains_ends_its_watchers(server: Server, live: Path):
    one = await watching(server)
    await server.replica.drain()
    await one.task
    assert events_of(one.body.decode())[-1][1]["error"]["code"] == "draining"


@pytest.fixture
def followed(tmp_path: Path) -> tuple[Clock, FollowedRun]:
    """A run of five steps under a clock of its own."""
    clock = Clock()
    run = FollowedRun("demo", write_run(tmp_path / "demo", 5), Desk(Gate(1, 1)), clock)
    run._log = CountingLog(run.folder)
    return clock, run


async def look(run: FollowedRun, watch: Watch) -> StepsEvent | ChangedEvent | None:
    """One look of a watcher."""
    return await run.follow(CALLER, watch.version, watch.look)


async def test_two_hundred_watchers_look_at_the_file_once(followed: tuple[Clock, FollowedRun]):
    clock, run = followed
    watches = [Watch(None, 0) for _ in range(200)]
    first = await asyncio.gather(*(look(run, watch) for watch in watches))
    assert all(isinstance(news, StepsEvent) and news.steps == [1, 2, 3, 4, 5] for news in first)
    log = run._log
    assert isinstance(log, CountingLog)
    assert log.looks == 1
    append(run.folder, step_event(6, 9))
    assert await asyncio.gather(*(look(run, watch) for watch in watches)) == [None] * 200
    clock.now += 1.0
    second = await asyncio.gather(*(look(run, watch) for watch in watches))
    assert all(isinstance(news, StepsEvent) and news.steps == [6] for news in second)
    assert log.looks == 2


async def test_an_answer_is_made_once_for_as_long_as_the_log_stands(followed: tuple[Clock, FollowedRun]):
    clock, run = followed
    made = []

    def write(log: RunLog) -> bytes:
        made.append(log.version)
        return b"made"

    for _ in range(3):
        clock.now += 1.0
        assert await run.answer(CALLER, ("one",), write) == b"made"
    assert len(made) == 1
    append(run.folder, step_event(6, 9))
    clock.now += 1.0
    await run.answer(CALLER, ("one",), write)
    assert len(made) == 2


async def test_a_watcher_is_told_to_read_anew_when_more_changes_than_steps(followed: tuple[Clock, FollowedRun]):
    clock, run = followed

    async def after(*events: dict[str, Any]) -> StepsEvent | ChangedEvent | None:
        watch = Watch(None, 5)
        await look(run, watch)
        append(run.folder, *events)
        clock.now += 1.0
        return await look(run, watch)

    assert await look(run, Watch(None, 9)) == ChangedEvent(reason="steps done again")
    assert await after(step_event(4, 9), step_event(5, 9)) == ChangedEvent(reason="steps done again")
    many = (step_event(step, 999) for step in range(6, 7 + MOST_NEW))
    assert await after(*many) == ChangedEvent(reason="far behind")
    late = Watch(None, 6 + MOST_NEW)
    await look(run, late)
    append(run.folder, {**step_event(1, 9, "more"), "time": 1.9e9})
    clock.now += 1.0
    assert await look(run, late) == ChangedEvent(reason="another stage")


def test_watchers_have_a_bound_and_the_newest_of_the_key_with_most_gives_way(run_dir: Path):
    runs = ServedRuns({"demo": run_dir}, Gate(1, 1))
    with pytest.raises(NotFound):
        runs.find("../demo")
    with ExitStack() as held:
        greedy = [held.enter_context(runs.watching("greedy")) for _ in range(MAX_WATCHERS)]
        polite = [held.enter_context(runs.watching("polite")) for _ in range(2)]
        assert [place.lost for place in greedy] == [False] * (MAX_WATCHERS - 2) + [True] * 2
        held.enter_context(runs.watching("third"))
        assert not any(place.lost for place in polite)
        with pytest.raises(Unavailable, match="watch runs here"):
            runs.watching("greedy").__enter__()
    with ExitStack() as held:
        for _ in range(MAX_WATCHERS):
            held.enter_context(runs.watching("greedy"))


async def test_a_watcher_whose_place_is_given_to_another_key_is_told_so(server: Server, live: Path):
    watchers = [Connection(server, "/v1/runs/demo/events", None, server.keys.read, "GET") for _ in range(MAX_WATCHERS)]
    await until(lambda: all(len(one.sent) > 1 for one in watchers))
    other = Connection(server, "/v1/runs/demo/events", method="GET")
    await until(lambda: len(other.sent) > 1)
    await until(lambda: any(one.task.done() for one in watchers))
    (told,) = [one for one in watchers if one.task.done()]
    assert b"too_many_watchers" in told.body
    assert (other.status, other.task.done()) == (200, False)
    for one in (other, *watchers):
        one.left.set()
    await asyncio.gather(*(one.task for one in (other, *watchers)))


async def test_a_log_is_read_by_one_at_a_time_though_who_asked_has_left(
    followed: tuple[Clock, FollowedRun], monkeypatch: pytest.MonkeyPatch
):
    _, run = followed
    begun, go, reads, read = threading.Event(), threading.Event(), list[int](), run._log.read

    def slow() -> None:
        reads.append(1)
        begun.set()
        assert go.wait(60)
        read()

    monkeypatch.setattr(run._log, "read", slow)
    gone = asyncio.create_task(look(run, Watch(None, 0)))
    await asyncio.to_thread(begun.wait, 60)
    gone.cancel()
    second = asyncio.create_task(look(run, Watch(None, 0)))
    await until(lambda: len(reads) > 1 or bool(run._desk._gate._lines[CALLER.key].waiting))
    assert len(reads) == 1, "the second waits for the thread of the first"
    go.set()
    news = await second
    assert isinstance(news, StepsEvent)
    assert news.steps == [1, 2, 3, 4, 5]


async def test_what_a_watcher_is_told_is_made_off_the_event_loop(
    server: Server, live: Path, monkeypatch: pytest.MonkeyPatch
):
    made_in: list[threading.Thread] = []

    def noted(*of: Any) -> StepsEvent:
        made_in.append(threading.current_thread())
        return steps_after(*of)

    monkeypatch.setattr("serving.runs.watch.steps_after", noted)
    one = await watching(server)
    one.left.set()
    await one.task
    assert made_in
    assert threading.main_thread() not in made_in
