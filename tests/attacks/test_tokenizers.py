"""A checkpoint whose tokenizer takes time quadratic in the prompt, and a client that knows it."""

from __future__ import annotations

import asyncio

import pytest
from tokenizers import Regex, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from actors.policy.text_format import text_format
from actors.policy.tokenizer import phrase_tokenizer
from serving.encoding.codec import Codec
from tests.http.conftest import TINY, Server


@pytest.fixture(scope="session")
def codec() -> Codec:
    backend = phrase_tokenizer([]).backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"(?:a|b)+[!?]"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return Codec(text_format(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="[EOS]")), TINY.max_positions)


async def test_a_prompt_that_never_ends_is_refused_while_others_are_answered(server: Server) -> None:
    short = {"model": "base", "prompt": "a"}
    assert (await server.client.post("/v1/completions", json=short)).status_code == 200  # the model is there
    attack = asyncio.create_task(server.client.post("/v1/completions", json={**short, "prompt": "a" * 60_000}))
    answered = 0
    while not attack.done():
        await asyncio.sleep(0.02)  # within the limit of requests
        assert (await server.client.get("/v1/models")).status_code == 200
        answered += 1
    refused = attack.result()
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "not_encoded"
    assert "longer than 2 s" in refused.json()["error"]["message"]
    assert answered > 1  # one at most, were the prompt read on the event loop
    assert (await server.client.post("/v1/completions", json=short)).status_code == 200
