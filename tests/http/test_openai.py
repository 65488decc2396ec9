"""The OpenAI routes against the fake engine: shapes, streaming, stops, limits."""

from __future__ import annotations

import json

import pytest

from tests.http.conftest import Server


async def test_a_completion_names_the_policy_that_gave_it(server: Server):
    answer = await server.client.post(
        "/v1/completions", json={"model": "latest", "prompt": "<question> x", "seed": 5, "temperature": 0.5}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    policy = body["policy"]
    assert (policy["model"], policy["requested"], policy["checkpoint"]) == ("demo@3", "latest", "rl-3")
    assert (policy["step"], policy["seed"], policy["engine"]) == (3, 5, "fake 1")
    assert policy["sampling"] == {"temperature": 0.5, "top_p": 1.0, "max_tokens": 256, "stop": []}
    assert len(policy["weight_hash"]) == 64
    assert len(policy["tokenizer_hash"]) == 64
    assert body["model"] == policy["model"] == "demo@3"
    assert body["system_fingerprint"] == f"fp_{policy['weight_hash'][:12]}"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["choices"][0]["text"].startswith(" Define demo@3 as A")


async def test_the_same_id_seed_and_prompt_give_the_same_text_and_another_seed_another(server: Server):
    texts = []
    for seed in (1, 1, 2):
        answer = await server.client.post("/v1/completions", json={"model": "demo@1", "prompt": "a", "seed": seed})
        texts.append(answer.json()["choices"][0]["text"])
    assert texts[0] == texts[1] != texts[2]


async def test_the_pieces_of_a_stream_join_to_the_whole(server: Server):
    request = {"model": "demo@2", "prompt": "a", "seed": 1, "n": 2, "logprobs": 2}
    whole = (await server.client.post("/v1/completions", json=request)).json()
    stream = await server.client.post(
        "/v1/completions", json={**request, "stream": True, "stream_options": {"include_usage": True}}
    )
    assert stream.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in stream.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert chunks[-1]["usage"] == whole["usage"]
    for index in (0, 1):
        own = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        assert "".join(choice["text"] for choice in own) == whole["choices"][index]["text"]
        assert own[-1]["finish_reason"] == "stop"
        offsets = [offset for choice in own for offset in choice["logprobs"]["text_offset"]]
        assert offsets == whole["choices"][index]["logprobs"]["text_offset"]


@pytest.mark.parametrize("stop", [" as", "demo@1 as A", [" zebra", " as"], "e d"])
async def test_a_stop_string_ends_the_text_before_itself(server: Server, stop: str | list[str]):
    server.script.write = lambda model, seed: f" Define {model} as A 7."
    body = {"model": "demo@1", "prompt": "a", "stop": stop}
    answer = (await server.client.post("/v1/completions", json=body)).json()
    whole = " Define demo@1 as A 7."
    expected = min(whole.find(s) for s in ([stop] if isinstance(stop, str) else stop) if s in whole)
    assert answer["choices"][0]["text"] == whole[:expected]
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_a_stop_string_that_never_comes_changes_nothing(server: Server):
    server.script.write = lambda model, seed: " Define x as A 7."
    body = {"model": "demo@1", "prompt": "a", "stop": "7.8"}
    assert (await server.client.post("/v1/completions", json=body)).json()["choices"][0]["text"] == " Define x as A 7."


async def test_prompts_come_in_four_forms(server: Server, codec):
    ids = list(await codec.encode("a b"))
    for prompt, choices in [("a b", 1), (ids, 1), (["a", "b"], 2), ([ids, ids, ids], 3)]:
        answer = await server.client.post("/v1/completions", json={"model": "base", "prompt": prompt})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["choices"]) == choices


async def test_a_chat_wraps_the_problem_as_the_policy_was_taught(server: Server):
    body = {"model": "best", "messages": [{"role": "user", "content": "The number of a equals 1. How many a?"}]}
    answer = (
        await server.client.post("/v1/chat/completions", json={**body, "logprobs": True, "top_logprobs": 2})
    ).json()
    assert answer["choices"][0]["message"]["content"].startswith(" Define demo@2")
    assert len(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2
    stream = await server.client.post("/v1/chat/completions", json={**body, "stream": True})
    chunks = [json.loads(line[6:]) for line in stream.text.split("\n\n") if line and not line.endswith("[DONE]")]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(choice["delta"]["content"] for chunk in chunks for choice in chunk["choices"])
    assert text.startswith(" Define demo@2")


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"temprature": 1}, "temprature", "unknown field"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"temperature": "hot"}, "temperature", "valid number"),
        ({"n": 65}, "n", "less than or equal to 64"),
        ({"n": 1.5}, "n", "integer"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": 4096, "n": 64}, "max_tokens", "65536"),
        ({"logprobs": 21}, "logprobs", "less than or equal to 20"),
        ({"stop": ["a"] * 5}, "stop", "at most 4"),
        ({"stop": "x" * 33}, "stop", "32"),
        ({"prompt": []}, "prompt", "at least 1"),
        ({"prompt": [10**6]}, "prompt", "outside"),
        ({"prompt": "a\x00"}, "prompt", "NUL"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"echo": True}, "echo", "False"),
        ({"model": None}, "model", "string"),
    ],
)
async def test_a_bad_field_is_named_with_what_is_allowed(server: Server, change: dict, param: str, said: str):
    answer = await server.client.post("/v1/completions", json={"model": "latest", "prompt": "a", **change})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").startswith(param)
    assert said in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "optional"),
    [
        ("/v1/completions", {"prompt": "a"}, "max_tokens temperature top_p n seed stop logprobs echo stream user"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "a"}]},
            "max_tokens max_completion_tokens temperature top_p n seed stop logprobs top_logprobs stream user",
        ),
    ],
)
async def test_a_field_that_is_null_has_its_default(server: Server, path: str, body: dict, optional: str):
    nulls = dict.fromkeys(optional.split())
    answer = await server.client.post(path, json={"model": "latest", **body, **nulls})
    assert answer.status_code == 200, answer.text
    (choice,) = answer.json()["choices"]
    assert choice["logprobs"] is None
    sampling = answer.json()["policy"]["sampling"]
    assert sampling == {"temperature": 1.0, "top_p": 1.0, "max_tokens": 256, "stop": []}
    misspelt = await server.client.post(path, json={"model": "latest", **body, "temprature": None})
    assert misspelt.json()["error"]["code"] == "unknown_field"


async def test_a_prompt_that_does_not_fit_is_too_large(server: Server):
    answer = await server.client.post("/v1/completions", json={"model": "latest", "prompt": [7] * 1024})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "context_length_exceeded"


async def test_a_system_message_is_refused_with_a_reason(server: Server):
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"}]
    answer = await server.client.post("/v1/chat/completions", json={"model": "latest", "messages": asked})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "messages.0.role"
    assert "know no instructions" in error["message"]
