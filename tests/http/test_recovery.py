"""The recovery map against the fake engine: what each checkpoint makes of planted errors, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from serving.probe.recovery import spread
from tests.http.conftest import Server
from tests.http.test_probe import CELL, GOLD, events_of
from verifier.graphs.generate import generate
from verifier.graphs.judge.judge import prepare
from verifier.graphs.plant import plant
from verifier.graphs.problem import ProblemSpec
from verifier.recovery import Planted

MADE = generate(ProblemSpec(CELL["op"]), CELL["seed"])
PREPARED = prepare(MADE.problem, MADE.question, MADE.solution)
SEED, STEP = 7, 1


def _planted() -> Planted:
    found = plant(GOLD.strip(), PREPARED, STEP, "value", SEED)
    assert isinstance(found, Planted)
    return found


PLANTED = _planted()
REST = GOLD.strip().partition(f"{PLANTED.right} ")[2]
WRONG, RIGHT = PLANTED.told.rpartition("= ")[2].rstrip("."), PLANTED.right.rpartition("= ")[2].rstrip(".")
FOLLOWED = REST.replace(f"{RIGHT} +", f"{WRONG} +").replace(f"= {MADE.answer}.", f"= {PLANTED.leads_to}.")
FOLLOWED = FOLLOWED.replace(f"<answer> {MADE.answer}", f"<answer> {PLANTED.leads_to}")
ASK = {"problem": CELL, "steps": [STEP], "alternatives": ["value"], "samples": 4, "seed": SEED}
WRITTEN = {
    "demo@1": f". {PLANTED.right} {REST}",
    "demo@2": f". {FOLLOWED}",
    "demo@3": f". {REST}",
    "demo.pretrain@10": ". Define",
}


async def mapped(server: Server, **body: object) -> list[tuple[str, dict]]:
    """The events of a map over all four checkpoints, whatever else is asked for."""
    models = ["demo@1", "demo@2", "demo@3", "base"]
    return events_of((await server.client.post("/v1/probe/recovery", json={"models": models, **ASK, **body})).text)


async def test_each_checkpoint_is_told_by_what_it_makes_of_the_planted_error(server: Server):
    server.script.write = lambda model, seed: WRITTEN[model]
    events = await mapped(server)
    assert [name for name, _ in events] == ["start", *(["cell", "checkpoint"] * 4), "done"]
    start, done = events[0][1], events[-1][1]
    [planted] = start["planted"]
    assert (planted["step"], planted["told"], planted["prefix"]) == (STEP, PLANTED.told, PLANTED.prefix)
    assert planted["leads_to"] == PLANTED.leads_to != MADE.answer
    cells = [data for name, data in events if name == "cell"]
    assert [{draw["outcome"] for draw in cell["draws"]} for cell in cells] == [
        {"recovered"}, {"followed"}, {"answer only"}, {"other"},
    ]  # fmt: skip
    assert all(cell["draws"][0]["text"].startswith(PLANTED.prefix.rstrip(".")) for cell in cells)
    rates = [(one["policy"]["requested"], one["shares"]["rate"]) for one in done["checkpoints"]]
    assert rates == [("demo@1", 1.0), ("demo@2", 0.0), ("demo@3", 0.0), ("base", 0.0)]
    assert done["cells"][1]["shares"]["followed"] == done["cells"][1]["shares"]["n"] == 4
    assert 0.3 < done["cells"][0]["shares"]["lo"] < done["cells"][0]["shares"]["hi"] == 1.0


async def test_tokens_that_run_out_are_told_from_an_end(server: Server):
    server.script.write = lambda model, seed: " and so on" * 50
    [cell] = [data for name, data in await mapped(server, models=["base"], max_tokens=4) if name == "cell"]
    assert cell["shares"]["cut_off"] == 4


async def test_all_checkpoints_draw_with_the_same_seeds_and_continue_writes_the_same(server: Server):
    server.script.write = lambda model, seed: f". {seed % 89} {model}"
    events = await mapped(server, alternatives=["value", "omission"], steps=[0, 1])
    cells = [data for name, data in events if name == "cell"]
    seeds = {(cell["model"], cell["planted"]): [draw["seed"] for draw in cell["draws"]] for cell in cells}
    for planted in range(len(events[0][1]["planted"])):
        assert len({tuple(seeds[model, planted]) for model in range(4)}) == 1
    assert len({seed for draws in seeds.values() for seed in draws}) == 4 * len(events[0][1]["planted"])
    draw, error = cells[1]["draws"][2], events[0][1]["planted"][1]
    body = {"model": "demo@1", "problem": CELL, "prefix": error["prefix"], "temperature": 1.0, "stream": False}
    again = (await server.client.post("/v1/probe/continue", json={**body, "seed": draw["seed"]})).json()
    assert again["text"] == draw["text"]


async def test_what_cannot_be_planted_says_why_beside_what_is(server: Server):
    events = await mapped(server, steps=[0], alternatives=["operand", "value"], models=["base"])
    [refused] = events[0][1]["unplanted"]
    assert (refused["step"], refused["alternative"]) == (0, "operand")
    assert refused["reason"] == "the step reads no other quantity"
    assert len(events[0][1]["planted"]) == 1


async def test_a_map_without_a_stream_has_the_grid_and_a_trace_may_be_given(server: Server):
    server.script.write = lambda model, seed: WRITTEN[model]
    body = {"models": ["demo@1", "base"], **ASK, "trace": f"\n{GOLD}", "steps": None, "stream": False}
    answer = (await server.client.post("/v1/probe/recovery", json=body)).json()
    assert answer["trace"] == GOLD.strip()
    assert {planted["step"] for planted in answer["planted"]} == {0, 1}
    assert len(answer["cells"]) == 2 * len(answer["planted"])
    assert [one["shares"]["n"] for one in answer["checkpoints"]] == [8, 8]


@pytest.mark.parametrize(
    ("change", "status", "param", "message"),
    [
        ({"trace": GOLD.replace("<answer>", "<answer> 9")}, 400, "trace", "the trace is not right"),
        ({"steps": [3]}, 400, "steps", "the trace has 3 steps"),
        ({"steps": [0], "alternatives": ["operand"]}, 400, "steps", "the step reads no other quantity"),
        ({"steps": [0, 0]}, 400, None, "steps names one twice"),
        ({"steps": [0, 1, 2], "samples": 64, "models": [f"demo@{i}" for i in range(16)]}, 400, None, None),
        ({"models": ["latest", "demo@9"]}, 404, "model", None),
        ({"samples": 64, "max_tokens": 4096}, 400, "max_tokens", None),
        ({"alternatives": ["nothing"]}, 400, "alternatives.0", None),
    ],
)
async def test_bad_maps_are_refused_before_anything_is_drawn(
    server: Server, change: dict, status: int, param: str | None, message: str | None
):
    if change.get("samples") == 64 and "models" in change:
        change = {**change, "alternatives": ["value", "operand", "omission"]}
    answer = await server.client.post("/v1/probe/recovery", json={"models": ["latest"], **ASK, **change})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param
    assert message is None or message in answer.json()["error"]["message"]
    assert server.script.open == server.script.aborted == 0


async def test_a_map_is_paid_for_at_once(serve: Callable[..., Server]):
    server = serve(tokens_per_minute=1000)
    server.replica.service.tokens._clock = lambda: 0.0  # nothing is filled again while models load
    body = {**ASK, "models": ["demo@1", "demo@2"], "max_tokens": 100, "stream": False}
    assert (await server.client.post("/v1/probe/recovery", json=body)).status_code == 200
    short = {"model": "latest", "prompt": "a", "max_tokens": 150}
    assert (await server.client.post("/v1/completions", json={**short, "max_tokens": 250})).status_code == 429
    assert (await server.client.post("/v1/completions", json=short)).status_code == 200


async def test_the_items_of_a_served_task_are_mapped_by_the_tasks_own_process(serve: Callable[..., Server]):
    server = serve(task={"family": "graphs", "ops": [3]})
    stratum = (await server.client.get("/v1/probe/task")).json()["strata"][0]["name"]
    item = {"stratum": stratum, "seed": 2}
    gold = (await server.client.post("/v1/probe/items", json={"stratum": stratum, "seed": 2})).json()["gold"]
    body = {"models": ["base"], "item": item, "samples": 2, "stream": False}
    answer = (await server.client.post("/v1/probe/recovery", json=body)).json()
    assert answer["trace"] == gold.strip()
    assert {"value", "omission"} <= {planted["alternative"] for planted in answer["planted"]}
    wrong = await server.client.post("/v1/probe/recovery", json={**body, "trace": json.dumps(gold)})
    assert wrong.json()["error"]["param"] == "trace"


async def test_a_task_without_steps_has_no_map(serve: Callable[..., Server], tmp_path):
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"{i} + {i} =", "answer": str(2 * i)}) + "\n" for i in range(40)))
    server = serve(task={"family": "answers", "file": str(file)})
    stratum = (await server.client.get("/v1/probe/task")).json()["strata"][0]["name"]
    body = {"models": ["base"], "item": {"stratum": stratum}, "trace": "4"}
    answer = await server.client.post("/v1/probe/recovery", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_steps")


def test_default_steps_are_spread_and_leave_the_last_one_out():
    assert [spread(count) for count in (1, 2, 3, 5, 9)] == [[0], [0], [0, 1], [0, 1, 2, 3], [0, 2, 5, 7]]
