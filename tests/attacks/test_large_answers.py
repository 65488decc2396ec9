"""Answers as large as the limits allow: they are written down in parts, and others have their turn between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from actors.engines.protocol import TopLogprob
from serving.encoding.codec import Codec
from serving.generation.completion import Token
from serving.generation.pace import PART_VALUES, Pace
from serving.openai.frames import OF_CHATS, OF_COMPLETIONS, Logprobs
from serving.schemas import MAX_ALTERNATIVES
from tests.http.conftest import Server

MESSAGES = [{"role": "user", "content": "<question>"}]
CHAT = ("/v1/chat/completions", {"messages": MESSAGES, "logprobs": True, "top_logprobs": 20})
OLDER = ("/v1/completions", {"prompt": "a", "logprobs": 20})
SEVEN = ["demo@1", "demo@2", "demo@3", "demo.pretrain@10", "latest", "best", "base"]
COMPARE = ("/v1/probe/compare", {"models": SEVEN, "problem": {"op": 2}, "logprobs": 20})
TOKENS = [Token(7, "a", i, i + 1, -0.5, tuple(TopLogprob(10 + n, -1.0) for n in range(20))) for i in range(600)]


@pytest.mark.parametrize("block", [OF_CHATS, OF_COMPLETIONS], ids=["chat", "older"])
async def test_others_have_their_turn_while_a_large_answer_is_written_down(block: Logprobs, codec: Codec):
    writing = asyncio.create_task(block.in_parts(TOKENS, codec, Pace()))
    turns = 0
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(next(iter(json.loads(writing.result()).values()))) == 600
    assert turns > 600 * 21 // PART_VALUES, "one turn of the loop after each part at least"


async def test_small_answers_together_let_others_in_as_large_ones_do(codec: Codec):
    pace = Pace()
    writing = asyncio.gather(*(OF_CHATS.in_parts(TOKENS[:5], codec, pace) for _ in range(120)))
    turns = 0
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 600 * 21 // PART_VALUES


@pytest.mark.parametrize(("path", "asked"), [CHAT, OLDER], ids=["chat", "older"])
async def test_an_answer_in_parts_is_the_one_that_a_stream_gives(server: Server, path: str, asked: dict):
    server.script.write = lambda model, seed: ' a "logprobs":null b' * 9
    body = {"model": "latest", "max_tokens": 60, **asked}
    whole = (await server.client.post(path, json=body)).json()["choices"][0]
    events = (await server.client.post(path, json={**body, "stream": True})).text.split("\n\n")
    parts = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events if event.startswith("data: {")]
    blocks = [part["logprobs"] for part in parts if part["logprobs"]]
    for name, items in whole["logprobs"].items():
        assert [item for block in blocks for item in block[name]] == items
    assert len(blocks) == 60
    assert '"logprobs":null' in (whole.get("text") or whole["message"]["content"])


SOLVE = ("/v1/probe/solve", {"model": "latest", "problem": {"op": 2}, "logprobs": 20})


@pytest.mark.parametrize(
    ("path", "asked"),
    [(SOLVE[0], {**SOLVE[1], "stream": False}), SOLVE, COMPARE],
    ids=["solve", "its stream", "compare"],
)
async def test_no_large_piece_of_a_probe_is_written_down_at_once(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str, asked: dict
):
    server.script.write = lambda model, seed: ' a "tokens":[] b' * 30
    at_once: list[int] = []

    def noting(write: Callable) -> Callable:
        def noted(self: Any, *args: Any, **more: Any) -> Any:
            written = write(self, *args, **more)
            at_once.append(len(written))
            return written

        return noted

    monkeypatch.setattr(BaseModel, "model_dump_json", noting(BaseModel.model_dump_json))
    monkeypatch.setattr(TypeAdapter, "dump_json", noting(TypeAdapter.dump_json))
    answer = await server.client.post(path, json={**asked, "max_tokens": 200})
    monkeypatch.undo()
    assert answer.status_code == 200, answer.text
    done = answer.text.split("event: done\ndata: ")[-1].split("\n\n")[0]
    one = json.loads(done)
    for trace in one.get("answers", [one]):
        assert [token["index"] for token in trace["tokens"]] == list(range(200))
        assert "".join(token["text"] for token in trace["tokens"]) == trace["text"]
    assert max(at_once) < 100 * PART_VALUES < len(done)


@pytest.mark.parametrize(("path", "asked"), [CHAT, OLDER, COMPARE], ids=["chat", "older", "compare"])
async def test_more_alternatives_than_one_answer_may_hold_are_refused(server: Server, path: str, asked: dict):
    more = {} if "models" in asked else {"model": "latest", "n": 64}
    refused = await server.client.post(path, json={"max_tokens": 1000, **more, **asked})
    assert refused.status_code == 400
    assert f"exceed the {MAX_ALTERNATIVES} of one request" in refused.json()["error"]["message"]
