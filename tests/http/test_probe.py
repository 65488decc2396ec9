"""The probe routes against the fake engine: problems, judgements, steps as they come, comparison, pass@k, going on."""

from __future__ import annotations

import json
import math
import re

import pytest

from actors.engines.protocol import TopLogprob
from serving.desk import Clerk, Desk
from serving.encoding.codec import Codec
from serving.generation.completion import Decoder, Piece
from serving.http.admission import Caller, Gate
from serving.probe.bodies.problems import ProblemRequest
from serving.probe.bodies.solve import StepEvent
from serving.probe.problems import posed_cell
from serving.probe.traces import JudgedTrace
from tests.http.conftest import Server
from verifier.graphs.generate import generate
from verifier.graphs.problem import ProblemSpec
from verifier.graphs.tell import completion_text
from verifier.judgement import StepJudgement

CELL = {"op": 5, "seed": 3}
PROBLEM = generate(ProblemSpec(5), 3)
GOLD = f" {completion_text(PROBLEM.solution)}"


def events_of(text: str) -> list[tuple[str, dict]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":") and ": " in line)
        if lines.get("data") not in (None, "[DONE]"):
            found.append((lines.get("event", ""), json.loads(lines["data"])))
    return found


def wrong_step(text: str, number: int) -> str:
    """The text with the value that its step `number` states off by one."""
    steps = re.split(r"(?<=\.) (?=Define|</sol)", text)
    steps[number] = re.sub(r"(\d+)\.$", lambda found: f"{int(found[1]) + 1}.", steps[number])
    return " ".join(steps)


async def test_a_problem_comes_with_its_graph_laid_out(server: Server):
    body = (await server.client.post("/v1/probe/problems", json=CELL)).json()
    assert (body["problem"], body["solution"]) == (PROBLEM.problem, PROBLEM.solution)
    assert body["spec"]["seed"] == 3
    nodes = {node["name"]: node for node in body["graph"]["nodes"]}
    assert {edge["target"] for edge in body["graph"]["edges"]} <= set(nodes)
    for edge in body["graph"]["edges"]:
        assert nodes[edge["source"]]["layer"] < nodes[edge["target"]]["layer"]
    places = {(node["layer"], node["order"]) for node in nodes.values()}
    assert len(places) == len(nodes)
    assert body["graph"]["layers"] == 1 + max(layer for layer, _ in places)
    assert [node["role"] for node in nodes.values()].count("query") == 1


@pytest.mark.parametrize("change", [{"op": 1, "depth": 3}, {"op": 40, "max_facts": 1}])
async def test_an_impossible_problem_is_refused_with_what_would_do(server: Server, change: dict):
    answer = await server.client.post("/v1/probe/problems", json={**CELL, **change})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "problem"


async def test_any_text_can_be_judged(server: Server):
    good = (await server.client.post("/v1/probe/verify", json={"problem": CELL, "text": GOLD})).json()
    assert good["judgement"]["verified"] is True
    assert good["rewards"]["strict"] == 1.0
    texts = {"problem": PROBLEM.problem, "question": PROBLEM.question, "solution": PROBLEM.solution}
    bad = (await server.client.post("/v1/probe/verify", json={"texts": texts, "text": wrong_step(GOLD, -2)})).json()
    assert bad["judgement"]["verified"] is False
    assert bad["judgement"]["steps"][bad["judgement"]["first_error"]]["status"] == "wrong value"
    assert bad["rewards"]["outcome"] == 1.0
    hostile = "__import__('os').system('x') {0.__class__} <script>alert(1)</script> Define a as a; so a = a = a."
    odd = await server.client.post("/v1/probe/verify", json={"problem": CELL, "text": hostile})
    assert odd.json()["judgement"]["outcome"] is False


async def test_a_problem_and_a_judgement_are_drawn_as_files_without_scripts(server: Server):
    problem = await server.client.post("/v1/probe/draw", json={"problem": CELL})
    assert problem.headers["content-type"].startswith("image/svg+xml")
    assert problem.text.startswith("<svg")
    hostile = wrong_step(GOLD, -2) + "<script>alert(1)</script>"
    texts = {"problem": PROBLEM.problem, "question": PROBLEM.question, "solution": PROBLEM.solution}
    for about in ({"problem": CELL}, {"texts": texts}):
        judgement = await server.client.post("/v1/probe/draw", json={**about, "text": hostile})
        assert "wrong value" in judgement.text
        assert "<script" not in judgement.text
    refused = await server.client.post("/v1/probe/draw", json={"texts": texts})
    assert refused.status_code == 400
    assert "give text" in refused.json()["error"]["message"]


async def test_a_step_event_comes_as_soon_as_the_step_is_complete(server: Server):
    server.script.write = lambda model, seed: wrong_step(GOLD, 1)
    stream = await server.client.post("/v1/probe/solve", json={"model": "latest", "problem": CELL, "logprobs": 1})
    events = events_of(stream.text)
    names = [name for name, _ in events]
    assert (names[0], names[-1]) == ("start", "done")
    done = events[-1][1]
    steps = [data for name, data in events if name == "step"]
    assert steps == done["steps"]
    assert [step["status"] for step in steps][:2] == ["right", "wrong value"]
    assert done["policy"]["model"] == "demo@3"
    first = names.index("step")
    assert "token" in names[first:], "the first step is told before the text is complete"
    tokens = [token for name, data in events if name == "token" for token in data["tokens"]]
    assert "".join(token["text"] for token in tokens) == done["text"]
    assert [token["index"] for token in tokens] == list(range(len(tokens)))
    for step in steps:
        covered = "".join(token["text"] for token in tokens[step["token_start"] : step["token_end"]])
        # The full stop may lie in the token that begins the next step (". Define"), and belongs to that step's tokens.
        assert done["text"][step["start"] : step["end"]].rstrip(".") in covered
        assert len(step["logprobs"]) == step["token_end"] - step["token_start"]
    assert stream.text.endswith("data: [DONE]\n\n")


def test_what_top_p_has_ruled_out_is_no_alternative(codec: Codec):
    drawn, ruled_out = TopLogprob(7, -0.1), TopLogprob(8, -math.inf)
    assert Decoder(codec).push(7, -0.1, (drawn, ruled_out)).top == (drawn,)


async def test_no_step_is_written_down_twice_while_its_trace_grows(codec: Codec):
    class Counted(JudgedTrace):
        made = 0

        def step_event(self, index: int, step: StepJudgement) -> StepEvent:
            self.made += 1
            return super().step_event(index, step)

    clerk = Clerk(Desk(Gate(1, 1)), Caller("a"))
    trace = Counted(posed_cell(ProblemRequest(op=5, seed=3)), "", codec, clerk)
    decoder, sent = Decoder(codec), list[StepEvent]()
    for token_id in await codec.encode(GOLD):
        trace.written.add(Piece((decoder.push(token_id, -0.1),)))
        sent += await trace.new_steps()
    assert [step.status for step in sent] == ["right"] * len(PROBLEM.graph.needed)
    assert trace.made == len(sent)


async def test_solve_without_a_stream_gives_the_same_answer(server: Server):
    server.script.write = lambda model, seed: GOLD
    body = {"model": "demo@1", "problem": CELL, "seed": 4}
    streamed = events_of((await server.client.post("/v1/probe/solve", json=body)).text)[-1][1]
    whole = (await server.client.post("/v1/probe/solve", json={**body, "stream": False})).json()
    assert streamed | {"timing": None} == whole | {"timing": None}
    assert whole["judgement"]["verified"] is True


async def test_continue_tells_whether_the_policy_recovers(server: Server):
    cut = GOLD.index("Define", GOLD.index("Define", 20) + 1)
    prefix = wrong_step(GOLD[:cut].rstrip(), 1)
    server.script.write = lambda model, seed: f". {GOLD[cut:]}"
    body = {"model": "latest", "problem": CELL, "prefix": prefix, "stream": False}
    answer = (await server.client.post("/v1/probe/continue", json=body)).json()
    assert answer["text"] == f"{prefix} {GOLD[cut:]}"
    assert answer["recovered"] is True
    assert answer["steps"][1]["status"] == "wrong value"
    assert answer["steps"][0]["logprobs"] == []
    body["prefix"] = GOLD[:cut]
    assert (await server.client.post("/v1/probe/continue", json=body)).json()["recovered"] is None


async def test_compare_aligns_by_node_and_says_where_they_part(server: Server):
    server.script.write = lambda model, seed: GOLD if model != "demo@1" else wrong_step(GOLD, 1)
    body = {"models": ["demo@1", "demo@2", "base"], "problem": CELL, "seed": 1}
    answer = (await server.client.post("/v1/probe/compare", json=body)).json()
    assert [a["policy"]["model"] for a in answer["answers"]] == ["demo@1", "demo@2", "demo.pretrain@10"]
    assert {a["policy"]["seed"] for a in answer["answers"]} == {1}
    first = answer["rows"][1]
    assert answer["rows"][0]["same"]
    assert [cell["status"] for cell in first["cells"]] == ["wrong value", "right", "right"]
    assert answer["parting"]["node"] == first["node"]
    assert "demo@1: wrong value" in answer["parting"]["sentence"]
    same = {**body, "models": ["demo@2", "base"]}
    assert (await server.client.post("/v1/probe/compare", json=same)).json()["parting"] is None


async def test_pass_at_k_streams_both_readings_with_narrowing_intervals(server: Server):
    lucky = wrong_step(GOLD, 1)
    server.script.write = lambda model, seed: [GOLD, lucky, " </solution>"][seed % 3]
    body = {"model": "latest", "problem": CELL, "samples": 24, "ks": [1, 4], "seed": 9}
    events = events_of((await server.client.post("/v1/probe/pass-at-k", json=body)).text)
    samples = [data for name, data in events if name == "sample"]
    estimates = [data for name, data in events if name == "estimate"]
    assert len(samples) == len(estimates) == 24
    done = events[-1][1]
    right = sum(sample["outcome"] for sample in samples)
    strict = sum(sample["verified"] for sample in samples)
    assert right > strict > 0
    assert done["outcome"][0]["mean"] == pytest.approx(right / 24)
    assert done["strict"][0]["mean"] == pytest.approx(strict / 24)
    for estimate in [e for data in estimates for e in data["outcome"] + data["strict"]]:
        assert 0 <= estimate["lo"] <= estimate["mean"] + 1e-9
        assert estimate["mean"] <= estimate["hi"] + 1e-9 <= 1 + 2e-9
    widths = [data["outcome"][0]["hi"] - data["outcome"][0]["lo"] for data in estimates]
    assert widths[-1] < widths[1]
    solo = {"model": "latest", "problem": CELL, "temperature": 1.0, "seed": samples[5]["seed"], "stream": False}
    assert (await server.client.post("/v1/probe/solve", json=solo)).json()["text"] == samples[5]["text"]


async def test_pass_at_k_stops_when_it_knows_enough(server: Server):
    server.script.write = lambda model, seed: GOLD
    body = {"model": "latest", "problem": CELL, "problems": 1, "samples": 64, "ks": [1], "stop_width": 0.2}
    answer = (await server.client.post("/v1/probe/pass-at-k", json={**body, "stream": False})).json()
    assert answer["stopped_early"] is True
    assert 32 <= answer["n"] < 64


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        ("solve", {"texts": {"problem": "a", "question": "b", "solution": "c"}, "problem": None}, "texts.solution"),
        ("solve", {"problem": None}, None),
        ("solve", {"problem": {"op": 5, "mode": "sideways"}}, "problem.mode"),
        ("pass-at-k", {"samples": 2}, None),
        ("verify", {"text": 5}, "text"),
    ],
)
async def test_bad_probes_name_the_field(server: Server, path: str, change: dict, param: str | None):
    base = {"problem": CELL} | ({"text": ""} if path == "verify" else {"model": "latest"})
    answer = await server.client.post(f"/v1/probe/{path}", json={**base, **change})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
