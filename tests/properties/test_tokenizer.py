from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from actors.config import TokenizerConfig
from actors.policy.tokenizer import SPECIALS, build_tokenizer, decode_with_offsets
from verifier.graphs.templates.connectives import connectives

TOKENIZER = build_tokenizer(TokenizerConfig())
WORDS = st.sampled_from([*connectives(), *SPECIALS, " 7", " 99", " 100", "12", " k", "; so", " in South Zoo"])
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=5))).map("".join)


@given(TEXTS)
def test_any_text_survives_encoding_and_decoding(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert decode_with_offsets(TOKENIZER, ids)[0] == text
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40))
@example([179, 104])  # 0xED 0xA1: half a surrogate, which two characters stand for
def test_offsets_cover_whatever_a_model_may_draw(ids: list[int]) -> None:
    text, spans = decode_with_offsets(TOKENIZER, ids)
    assert text == TOKENIZER.decode(ids, skip_special_tokens=False)
    assert len(spans) == len(ids)
    assert all(a <= b for a, b in spans)
    assert {i for a, b in spans for i in range(a, b)} == set(range(len(text)))
    assert [a for a, _ in spans] == sorted(a for a, _ in spans)
