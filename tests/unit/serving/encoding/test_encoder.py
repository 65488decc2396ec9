from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import psutil
import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from actors.config import TokenizerConfig
from actors.policy.tokenizer import build_tokenizer, byte_pair_tokenizer, phrase_tokenizer
from serving.encoding.encoder import EncodingFailed, ProcessEncoder, ThreadEncoder, encoder_of
from serving.encoding.linear import is_linear

SLOW = Regex(r"(?:a|b)+[!?]")  # quadratic in the length of a text that has no mark
LONG = "a" * 60_000


def splitting_by(pattern: str | Regex) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[], unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, behavior="isolated")
    return tokenizer


@pytest.fixture
def phrases() -> Tokenizer:
    return phrase_tokenizer([" cat"]).backend_tokenizer


async def test_a_process_gives_the_ids_that_a_thread_gives(phrases: Tokenizer) -> None:
    process = ProcessEncoder(phrases)
    try:
        for text in ("", "The number of cat equals 7.", "é\u2581 \x00 <question> </answer>", "1 " * 2000):
            assert await process.ids(text) == await ThreadEncoder(phrases).ids(text)
            assert await process.ids(text) == tuple(phrases.encode(text, add_special_tokens=False).ids)
    finally:
        await process.stop()


async def test_a_text_that_takes_too_long_is_refused_and_its_process_ended() -> None:
    encoder = ProcessEncoder(splitting_by(SLOW), deadline_s=1.0)
    before = set(psutil.Process().children())
    with pytest.raises(EncodingFailed, match="longer than 1 s"):
        await encoder.ids(LONG)
    assert not set(psutil.Process().children()) - before
    encoder._deadline_s = 60.0
    assert await encoder.ids("ab") == (0, 1)
    await encoder.stop()


async def test_a_caller_who_leaves_does_not_shift_the_answers_of_the_others() -> None:
    encoder = ProcessEncoder(splitting_by(SLOW), deadline_s=60.0)
    assert await encoder.ids("a") == (0,)
    first = asyncio.create_task(encoder.ids(LONG))
    second = asyncio.create_task(encoder.ids("b"))
    for _ in range(20):  # until the text has been sent: that waits for nothing
        await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.wait_for(second, 60) == (1,)
    await encoder.stop()


async def test_a_process_that_dies_is_said_and_replaced() -> None:
    encoder = ProcessEncoder(splitting_by("b"))
    assert await encoder.ids("ab") == (0, 1)
    assert encoder._process is not None
    encoder._process.kill()
    with pytest.raises(EncodingFailed, match="fail"):
        await encoder.ids("ab")
    assert await encoder.ids("ab") == (0, 1)
    await encoder.stop()


def _normalizing(pattern: str | Regex) -> Tokenizer:
    tokenizer = splitting_by("b")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(pattern, "b")])
    return tokenizer


@pytest.mark.parametrize(
    ("make", "linear"),
    [
        (lambda: build_tokenizer(TokenizerConfig(kind="phrase")).backend_tokenizer, True),
        (lambda: build_tokenizer(TokenizerConfig(kind="quantity")).backend_tokenizer, True),
        (lambda: byte_pair_tokenizer(["a b"] * 9).backend_tokenizer, True),
        (lambda: splitting_by("b"), True),
        (lambda: splitting_by(SLOW), False),
        (lambda: _normalizing("a"), True),
        (lambda: _normalizing(SLOW), False),
    ],
)
def test_only_known_rules_count_as_linear(make: Callable[[], Tokenizer], linear: bool) -> None:
    tokenizer = make()
    assert is_linear(tokenizer) is linear
    assert isinstance(encoder_of(tokenizer), ThreadEncoder if linear else ProcessEncoder)


@pytest.mark.parametrize("unit", [" ", "a", "1", "1 ", "\n", " \n", "a b. ", "é", "'s"])
@pytest.mark.parametrize("kind", ["phrase", "byte-pair"])
def test_a_text_sixteen_times_as_long_takes_no_hundred_times_as_long(kind: str, unit: str) -> None:
    tokenizer = (phrase_tokenizer([" cat"]) if kind == "phrase" else byte_pair_tokenizer(["a b"] * 9)).backend_tokenizer
    assert _cpu_s(tokenizer, unit * 8_000) < 100 * _cpu_s(tokenizer, unit * 500) + 0.01


def _cpu_s(tokenizer: Tokenizer, text: str) -> float:
    """The least of three, in seconds of this thread's CPU: an interruption counts for nothing."""
    taken: list[float] = []
    for _ in range(3):
        started = time.thread_time()
        tokenizer.encode(text, add_special_tokens=False)
        taken.append(time.thread_time() - started)
    return min(taken)
