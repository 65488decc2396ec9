"""Tokenizers for the task language: made here, saved as transformers fast tokenizers, loaded by every engine.

Two builders. `phrase_tokenizer` knows the words of a family: a phrase of its language, a letter or a number 0..99 is
one token each, and everything else falls back to single bytes, so a round trip loses nothing. It needs no training and,
on op-graph problems, about a third of the paper's tokens. `byte_pair_tokenizer` is the paper's own choice (byte-level
BPE, vocabulary 2200), trained on texts. Both put the ten specials at ids 0-9 as the paper does. This module reads no
problem.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from actors.config import TokenizerConfig
from verifier.families import phrases

if TYPE_CHECKING:  # takes a second, which who only names a worker need not wait
    from transformers import PreTrainedTokenizerFast

_REMEMBERED: Final = 8  # tokenizers; a server opens hundreds in its life

SPECIALS: Final = (
    "[UNK]",
    "[PAD]",
    "[BOS]",
    "[EOS]",
    "<question>",
    "</question>",
    "<solution>",
    "</solution>",
    "<answer>",
    "</answer>",
)
"""The specials in id order (paper, appendix; `<question> ... </answer>` are one token each)."""

PAD, BOS, EOS = 1, 2, 3

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LARGEST_NUMBER_TOKEN: Final = 99
_LONE_BYTE: Final = re.compile("<0x([0-9A-F]{2})>")
_PAPER_SPLIT: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_PAPER_MAX_TOKEN_LENGTH: Final = 100


def build_tokenizer(config: TokenizerConfig, texts: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """The tokenizer that a recipe names. `texts` is the training corpus of the byte-pair kind; phrases need none."""
    if config.kind == "byte-pair":
        return byte_pair_tokenizer(texts, config.vocab_size)
    return phrase_tokenizer(phrases("graphs")(config.templates, config.kind == "quantity"))


def load_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a transformers directory; no code from the directory, no network."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True, trust_remote_code=False)


def phrase_tokenizer(whole: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per phrase, letter and number 0..99, and one per byte for everything else.

    `whole` are the phrases of a family's language, each with its leading blank. Ids depend on their order only. A
    number of three digits or more is a blank and its digits, so no number's first token is another's.
    """
    known = list(dict.fromkeys(whole))
    numbers = [f" {n}" for n in range(_LARGEST_NUMBER_TOKEN + 1)]
    letters = [f" {letter}" for letter in _LETTERS]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = dict.fromkeys(_as_bytes_text(word) for word in [*known, *numbers, *letters])
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*SPECIALS, *alphabet, *words]))}
    # ignore_merges: a piece that is in the vocabulary is that token; any other piece becomes its bytes (no merges).
    model = models.BPE(vocab=vocabulary, merges=[], ignore_merges=True, unk_token=None)
    return _finish(model, Regex(_phrase_pattern(known)))


def byte_pair_tokenizer(texts: Iterable[str], vocab_size: int = 2200) -> PreTrainedTokenizerFast:
    """The paper's tokenizer: byte-level BPE trained on `texts` (min frequency 2, at most `vocab_size` tokens)."""
    tokenizer = _assemble(models.BPE(), Regex(_PAPER_SPLIT))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[AddedToken(special, special=True, normalized=False) for special in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=_PAPER_MAX_TOKEN_LENGTH,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrap(tokenizer)


def token_bytes(tokenizer: PreTrainedTokenizerFast, token_id: int) -> bytes:
    """The bytes that a token stands for; a special stands for its own name.

    Of byte-level tokenizers, and of those that write a blank as "\u2581" and a lone byte as "<0x0A>". No bytes for an
    id that is no token: models often have more rows than their tokenizer has words, and may draw them.
    """
    special = _added_tokens(tokenizer).get(token_id)
    if special is not None:
        return special.encode()
    piece = str(tokenizer.convert_ids_to_tokens(token_id) or "")
    if _is_byte_level(tokenizer):
        table = _byte_of_character()
        return bytes(table[character] for character in piece)
    lone = _LONE_BYTE.fullmatch(piece)
    return bytes([int(lone[1], 16)]) if lone else piece.replace("\u2581", " ").encode()


def decode_with_offsets(
    tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text of `ids` with specials kept, and the characters [start, end) that each token touches.

    A character whose bytes lie in several tokens belongs to each of them. Bytes that are no UTF-8 become U+FFFD.
    """
    if not _is_byte_level(tokenizer):
        return _decode_by_prefixes(tokenizer, ids)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text: list[str] = []
    length = 0
    spans: list[tuple[int, int]] = []
    for token_id in ids:
        start = length
        piece = decoder.decode(token_bytes(tokenizer, token_id))
        text.append(piece)
        length += len(piece)
        # What has come of a character will be one, or, where nothing can complete it (0xED 0xA1), one U+FFFD a byte.
        pending = decoder.getstate()[0].decode(errors="replace")
        spans.append((start, length + len(pending)))
    tail = decoder.decode(b"", final=True)
    whole = "".join(text) + tail
    return whole, tuple((start, min(end, len(whole))) for start, end in spans)


@lru_cache(maxsize=_REMEMBERED)
def _is_byte_level(tokenizer: PreTrainedTokenizerFast) -> bool:
    return "ByteLevel" in str(tokenizer.backend_tokenizer.decoder)


def _decode_by_prefixes(
    tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """For other people's tokenizers, whose tokens have no text of their own: where the text grows by a token."""
    ends = [0]
    text = ""
    for count in range(1, len(ids) + 1):
        text = str(tokenizer.decode(list(ids[:count]), skip_special_tokens=False, clean_up_tokenization_spaces=False))
        ends.append(max(ends[-1], len(text)))
    return text, tuple(pairwise(min(end, len(text)) for end in ends))


def _phrase_pattern(phrases: Sequence[str]) -> str:
    """An alternation that isolates each phrase, longest first, then numbers, words, and single other characters."""
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    whole = [_escape(p) + (r"(?![\p{L}\p{N}])" if p[-1].isalnum() else "") for p in longest_first]
    return "|".join([*whole, r" \p{N}{1,2}(?!\p{N})", r"\p{N}", r" ?\p{L}+", r"[^\p{L}\p{N}]"])


def _escape(phrase: str) -> str:
    return "".join(f"\\{c}" if c in r".?*+()[]{}|^$\/-" else c for c in phrase)


def _finish(model: models.BPE, split: Regex) -> PreTrainedTokenizerFast:
    tokenizer = _assemble(model, split)
    tokenizer.add_special_tokens([AddedToken(special, special=True, normalized=False) for special in SPECIALS])
    return _wrap(tokenizer)


def _assemble(model: models.BPE, split: Regex) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(split, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    unknown, padding, begin, end = SPECIALS[:4]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=unknown,
        pad_token=padding,
        bos_token=begin,
        eos_token=end,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte, inverted."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    stand_in = {byte: byte for byte in printable} | {byte: 256 + i for i, byte in enumerate(others)}
    return {chr(character): byte for byte, character in stand_in.items()}


def _as_bytes_text(text: str) -> str:
    """The text as byte-level models spell it: one printable character per byte of its UTF-8."""
    character_of = {byte: character for character, byte in _byte_of_character().items()}
    return "".join(character_of[byte] for byte in text.encode())


@lru_cache(maxsize=_REMEMBERED)
def _added_tokens(tokenizer: PreTrainedTokenizerFast) -> dict[int, str]:
    return {token_id: token.content for token_id, token in tokenizer.added_tokens_decoder.items()}
