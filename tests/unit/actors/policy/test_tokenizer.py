from __future__ import annotations

import hashlib
import json

import pytest

from actors.policy.tokenizer import (
    SPECIALS,
    TokenizerConfig,
    build_tokenizer,
    decode_with_offsets,
    load_tokenizer,
    token_bytes,
)

EXAMPLE = (
    "<question> The number of adult deer in South Zoo equals 2. The number of adult bear in Bundle Ranch equals the "
    "number of adult deer in South Zoo. What is the total number of adult animals in Bundle Ranch? </question> "
    "<solution> Define adult deer in South Zoo as k; so k = 2. Define adult bear in Bundle Ranch as N; so N = k = 2. "
    "Define total number of adult animals in Bundle Ranch as u; so u = N = 2. </solution> <answer> 2 </answer>[EOS]"
)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TokenizerConfig())


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def pieces(tokenizer, text):
    return [token_bytes(tokenizer, i).decode() for i in encode(tokenizer, text)]


def test_the_specials_have_ids_0_to_9_in_the_papers_order(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIALS)) == list(range(10))


@pytest.mark.parametrize(
    ("kind", "digest"),
    [("phrase", "55631c584e70e808"), ("quantity", "6b06c57364a48af8")],
)
def test_the_ids_are_those_that_checkpoints_were_trained_with(kind, digest):
    # A new digest makes every policy that was trained on op-graph problems from scratch speak nonsense.
    made = json.loads(build_tokenizer(TokenizerConfig(kind=kind)).backend_tokenizer.to_str())
    bits = json.dumps([made["model"]["vocab"], made["pre_tokenizer"]["pretokenizers"][0]["pattern"]])
    assert hashlib.sha256(bits.encode()).hexdigest()[:16] == digest


def test_phrases_names_letters_and_numbers_are_single_tokens(tokenizer):
    assert pieces(tokenizer, " The number of adult deer in South Zoo equals 12. Define adult bear in Bundle Ranch") == [
        " The number of",
        " adult deer",
        " in South Zoo",
        " equals",
        " 12",
        ". Define",
        " adult bear",
        " in Bundle Ranch",
    ]


def test_an_example_has_about_a_third_of_the_papers_tokens(tokenizer):
    assert len(encode(tokenizer, EXAMPLE)) <= 75


@pytest.mark.parametrize("number", [0, 7, 42, 99])
def test_a_number_up_to_99_is_the_same_token_in_every_context(tokenizer, number):
    contexts = (" equals {}.", " = {};", " Divide both sides by {}: x", "<answer> {} </answer>", " + {} =", " {}")
    expected = tokenizer.convert_tokens_to_ids(f"Ġ{number}")
    assert all(encode(tokenizer, context.format(number)).count(expected) == 1 for context in contexts)


def test_a_longer_number_is_a_blank_and_its_digits(tokenizer):
    assert pieces(tokenizer, " = 512.") == [" =", " ", "5", "1", "2", "."]


def test_a_phrase_does_not_swallow_half_a_word(tokenizer):
    assert " in South Zoo" not in pieces(tokenizer, " in South Zoological")


@pytest.mark.parametrize("text", ["", " ", "\n\t", "caf\u00e9 \U0001f98c", "x\x00y", " 12345 ", EXAMPLE])
def test_round_trips_lose_nothing(tokenizer, text):
    ids = encode(tokenizer, text)
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert decode_with_offsets(tokenizer, ids)[0] == text


def test_offsets_cut_the_text_into_the_tokens(tokenizer):
    ids = encode(tokenizer, EXAMPLE)
    text, spans = decode_with_offsets(tokenizer, ids)
    assert [text[a:b] for a, b in spans] == [token_bytes(tokenizer, i).decode() for i in ids]


def test_a_character_split_over_tokens_belongs_to_all_of_them(tokenizer):
    ids = encode(tokenizer, "\U0001f98c!")
    text, spans = decode_with_offsets(tokenizer, ids)
    assert text == "\U0001f98c!"
    assert spans == ((0, 1),) * 4 + ((1, 2),)


def test_bytes_that_are_no_text_become_the_replacement_character(tokenizer):
    half = encode(tokenizer, "\U0001f98c")[:2]
    text, spans = decode_with_offsets(tokenizer, half)
    assert set(text) == {"\ufffd"}
    assert all(0 <= a <= b <= len(text) for a, b in spans)


def test_an_id_that_is_no_token_has_no_text(tokenizer):
    known = tokenizer.encode(" adult fox", add_special_tokens=False)
    text, spans = decode_with_offsets(tokenizer, [*known, len(tokenizer) + 7, *known])
    assert text == " adult fox adult fox"
    assert spans[len(known)] == (len(" adult fox"), len(" adult fox"))


def test_a_saved_tokenizer_is_the_same_tokenizer(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert encode(loaded, EXAMPLE) == encode(tokenizer, EXAMPLE)
    assert (loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id) == (1, 2, 3)
    assert len(loaded) == len(tokenizer)


def test_the_papers_byte_pair_tokenizer_is_trained_on_texts():
    config = TokenizerConfig(kind="byte-pair", vocab_size=330)
    made = [build_tokenizer(config, [EXAMPLE] * 3) for _ in range(2)]
    assert made[0].get_vocab() == made[1].get_vocab()
    assert 266 < len(made[0]) <= 330
    assert made[0].convert_tokens_to_ids(list(SPECIALS)) == list(range(10))
    assert decode_with_offsets(made[0], encode(made[0], EXAMPLE))[0] == EXAMPLE
