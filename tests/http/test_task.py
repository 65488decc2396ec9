"""The probe on the task that the operator serves: items of any family, judged by the task's own judge."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.http.conftest import Server
from tests.http.test_models import until
from tests.http.test_probe import events_of
from verifier.task import SPLITS

FIRST = {"stratum": "stratum=sums", "seed": 3}
OWN = """
import time
from verifier.judgement import Judgement, StepJudgement, StepStatus, TraceJudgement
from verifier.task import Address, Item, Stratum, distinct_items

SAID = {
    "raise": lambda: 1 / 0,
    "hang": lambda: time.sleep(3600),
    "slow": lambda: time.sleep(0.5),
    "open": lambda: open("/srv/answers/of/all.jsonl"),
    "lie": lambda: Judgement(right=True, partial=2.0),
    "nothing": lambda: None,
    "leave": lambda: __import__("os")._exit(3),
}


UNMADE = {
    404: lambda: open("/srv/items/of/all.jsonl"),
    405: lambda: exit(3),
    406: lambda: None,
    407: lambda: time.sleep(3600),
    408: lambda: Item("408", Address(Stratum.of(kind="only"), 408, 0, "test"), "half \\ud800", None, 408),
    409: lambda: Item(409, Address(Stratum.of(kind="only"), 409, 0, "test"), "say 409", None, 409),
}


class Steps:
    has_steps, has_gold = True, False

    def strata(self):
        return (Stratum.of(kind="only"),)

    def item(self, stratum, seed, index, split):
        if seed in UNMADE:
            return UNMADE[seed]()
        payload = (lambda: seed) if seed == 500 else seed
        return Item(f"{split} {seed}", Address(stratum, seed, index, split), f"{split}: say {seed}", None, payload)

    def judge(self, item, text):
        if text.strip() in SAID:
            return SAID[text.strip()]()
        right = text.strip() == str(item.payload)
        step = StepJudgement("said", StepStatus.RIGHT if right else StepStatus.WRONG_VALUE, "as told", 0, len(text))
        return TraceJudgement(
            right, text.strip(), None, verified=right, process_accuracy=float(right), steps=(step,),
            first_error=None if right else 0, faults=(), needed=1,
        )

    def held_out(self, stratum, count, seed):
        return distinct_items(self, stratum, count, seed)
"""


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An `answers` task of twenty sums of one stratum and one row of another."""
    file = tmp_path_factory.mktemp("answers") / "sums.jsonl"
    rows = [
        {"prompt": f"{n} + {n} =", "answer": 2 * n, "stratum": "sums", "split": "test" if n % 2 else "train"}
        for n in range(20)
    ]
    rows.append({"messages": [{"role": "user", "content": "1 or 2?"}], "answer": 1, "stratum": "chat", "split": "test"})
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return {"family": "answers", "file": str(file), "checker": "number"}


@pytest.fixture
def sums_server(serve: Callable[..., Server], sums: dict[str, Any]) -> Server:
    return serve(task=sums)


async def ask(server: Server, path: str, **body: Any) -> httpx.Response:
    return await server.client.post(f"/v1/probe/{path}", json=body)


async def test_a_server_without_a_task_says_so(server: Server):
    assert (await server.client.get("/v1/probe/task")).json() == {"family": None, "has_steps": False, "strata": []}
    refused = await ask(server, "items", **FIRST)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "no_task")


async def test_the_served_task_names_its_strata_and_shows_its_held_out_items(sums_server: Server):
    task = (await sums_server.client.get("/v1/probe/task")).json()
    assert (task["family"], task["has_steps"]) == ("answers", False)
    assert {"name": "stratum=sums", "axes": {"stratum": "sums"}} in task["strata"]
    item = (await ask(sums_server, "items", **FIRST)).json()
    assert item == (await ask(sums_server, "items", **FIRST)).json()
    number = int(item["prompt"].split()[0])
    assert number % 2 == 1, "an item of the test split"
    unknown = await ask(sums_server, "items", stratum="stratum=nope")
    assert unknown.json()["error"]["param"] == "item.stratum"
    both = await ask(sums_server, "verify", item=FIRST, problem={"op": 2}, text="1")
    assert "exactly one" in both.json()["error"]["message"]


async def test_a_text_is_judged_by_its_answer_where_no_steps_are(sums_server: Server):
    number = int((await ask(sums_server, "items", **FIRST)).json()["prompt"].split()[0])
    right = (await ask(sums_server, "verify", item=FIRST, text=f"<answer> {2 * number} </answer>")).json()
    assert right["judgement"] == {
        "verified": None, "outcome": True, "score": 1.0, "process_accuracy": None, "answer": str(2 * number),
        "answer_status": "right", "steps": [], "first_error": None, "faults": [],
    }  # fmt: skip
    assert right["rewards"] == {"outcome": 1.0, "score": 1.0}
    wrong = (await ask(sums_server, "verify", item=FIRST, text="no idea")).json()
    assert (wrong["judgement"]["outcome"], wrong["judgement"]["score"]) == (False, 0.0)
    drawing = await ask(sums_server, "draw", item=FIRST, text="1")
    assert "no graph to draw" in drawing.json()["error"]["message"]


async def test_solve_compare_and_pass_at_k_work_without_steps(sums_server: Server):
    number = int((await ask(sums_server, "items", **FIRST)).json()["prompt"].split()[0])
    sums_server.script.write = lambda model, seed: f" {2 * number if model != 'demo@1' else 0}"
    events = events_of((await ask(sums_server, "solve", model="demo@3", item=FIRST)).text)
    assert [name for name, _ in events if name != "token"] == ["start", "done"]
    assert events[0][1]["prompt"] == f"{number} + {number} ="
    assert events[-1][1]["judgement"]["outcome"] is True
    compared = (await ask(sums_server, "compare", models=["demo@1", "demo@3"], item=FIRST)).json()
    assert [answer["judgement"]["outcome"] for answer in compared["answers"]] == [False, True]
    assert compared["rows"] == []
    assert compared["parting"]["sentence"].startswith("They differ from token ")
    measured = await ask(
        sums_server, "pass-at-k", model="demo@3", item=FIRST, problems=2, samples=2, ks=[1, 2], stream=False
    )
    body = measured.json()
    assert (body["n"], body["strict"], [e["k"] for e in body["outcome"]]) == (4, [], [1, 2])
    metrics = (await sums_server.client.get("/metrics")).text
    assert 'interplay_judgements_total{judgement="verified"}' in metrics


async def test_an_item_in_chat_needs_a_chat_template_and_cannot_be_continued(sums_server: Server):
    chat = {"stratum": "stratum=chat"}
    assert (await ask(sums_server, "items", **chat)).json()["prompt"] == "1 or 2?"
    solved = await ask(sums_server, "solve", model="demo@3", item=chat, stream=False)
    assert "no chat template" in solved.json()["error"]["message"]
    went_on = await ask(sums_server, "continue", model="demo@3", item=chat, prefix="1", stream=False)
    assert "cannot be continued" in went_on.json()["error"]["message"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Server]) -> Server:
    """A server on the user's own code, whose judge does what the text tells it to."""
    (tmp_path / "their_served_task.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return serve(task={"family": "python", "object": "their_served_task:Steps"})


def wait_for_the_task(server: Server, seconds: float) -> None:
    """Let the task's own code take so long."""
    assert server.replica.task is not None
    server.replica.task._process._answer_s = seconds


async def test_the_users_own_judge_gives_steps(own: Server):
    own.script.write = lambda model, seed: " 7"
    item = {"stratum": "kind=only", "seed": 7}
    done = (await ask(own, "solve", model="demo@3", item=item, stream=False)).json()
    assert done["judgement"]["verified"] is True
    assert [(step["node"], step["status"]) for step in done["steps"]] == [("said", "right")]


async def test_a_judge_that_raises_hangs_lies_or_dies_is_one_clear_error_and_the_next_text_is_judged(own: Server):
    item = {"stratum": "kind=only", "seed": 7}
    said = {
        "raise": "ZeroDivisionError",
        "hang": "gave nothing within 2 s",
        "lie": "partial is 2.0",
        "nothing": "returned None",
        "open": "No such file or directory: 'all.jsonl'",
        "leave": "process of the task's own code died",
    }
    for text, words in said.items():
        wait_for_the_task(own, 2.0 if text == "hang" else 60.0)
        answer = await ask(own, "verify", item=item, text=text)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "task_failed"), text
        assert words in answer.json()["error"]["message"]
        wait_for_the_task(own, 60.0)
        assert (await ask(own, "verify", item=item, text="7")).json()["judgement"]["verified"] is True
    (process,) = _processes()
    process.kill()
    await until(lambda: process not in _processes())
    assert (await ask(own, "verify", item=item, text="7")).json()["judgement"]["verified"] is True
    await own.replica.stop()
    assert not _processes()


async def test_an_item_that_cannot_be_made_asked_or_sent_is_said_to_be_the_tasks_own_fault(own: Server):
    said = {
        404: "No such file or directory: 'all.jsonl'",
        405: "SystemExit: 3",
        406: "item() gave NoneType: return a verifier.task.Item",
        407: "gave nothing within 2 s",
        408: "surrogates not allowed",
        409: "expected str instance, int found",
        500: "pickle",
    }
    for seed, words in said.items():
        wait_for_the_task(own, 2.0 if seed == 407 else 60.0)
        item = {"stratum": "kind=only", "seed": seed}
        for unmade in (await ask(own, "items", **item), await ask(own, "solve", model="demo@3", item=item)):
            assert (unmade.status_code, unmade.json()["error"]["code"]) == (500, "task_failed"), unmade.text
            assert words in unmade.json()["error"]["message"]
        wait_for_the_task(own, 60.0)
        judged = await ask(own, "verify", item={"stratum": "kind=only", "seed": 7}, text="7")
        assert judged.json()["judgement"]["verified"] is True


async def test_an_item_that_a_family_does_not_have_is_the_clients_to_change(
    serve: Callable[..., Server], tmp_path: Path
):
    rows = [{"prompt": f"{n} =", "answer": n, "stratum": split, "split": split} for n, split in enumerate(SPLITS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    server = serve(task={"family": "answers", "file": str(tmp_path / "rows.jsonl"), "checker": "number"})
    assert (await ask(server, "items", stratum="stratum=test")).json()["prompt"] == "2 ="
    error = (await ask(server, "items", stratum="stratum=train")).json()["error"]
    assert (error["param"], error["message"].partition(";")[0]) == (
        "item",
        "rows.jsonl: stratum=train has no test rows",
    )


def _processes() -> list[psutil.Process]:
    ours = [p for p in psutil.Process(os.getpid()).children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in ours if "spawn_main" in " ".join(p.cmdline())]
