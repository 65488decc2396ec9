"""Whether a tokenizer's time is known to be linear in the text: it splits by rules that are, and by no others.

A regular expression of the engine that tokenizers use may backtrack, in time quadratic or exponential in the text. What
is listed here does not: literals, classes repeated once, and the patterns of the families that are trained most, each
timed on its worst texts at growing lengths (tests/unit/serving/encoding/test_encoder.py). A rule that is missing here
costs its model a process, never an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tokenizers import Tokenizer

_PATTERNS: Final = frozenset(
    {
        # GPT-2, and the paper's tokenizer
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        # Llama 3, OLMo 2
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
        # Qwen2, Qwen3
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    }
)
_LITERAL: Final = r"(?:[\w ,;:='\"<>]|\\[^\w])+"
_PHRASE: Final = rf"{_LITERAL}(?:\(\?!\[\\p{{L}}\\p{{N}}\]\))?"
_TAIL: Final = re.escape(r"| \p{N}{1,2}(?!\p{N})|\p{N}| ?\p{L}+|[^\p{L}\p{N}]")
_PHRASES: Final = re.compile(rf"{_PHRASE}(?:\|{_PHRASE})*{_TAIL}")
"""Our own phrase tokenizers: whole phrases, then short numbers, words, and single characters."""

_LONGEST_OF_PHRASES: Final = 65_536  # ours have 6,000 to 20,000 characters

_LINEAR_STEPS: Final = frozenset(
    {
        *("BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Prepend", "Strip"),
        *("StripAccents", "BertPreTokenizer", "CharDelimiterSplit", "Delimiter", "Digits", "Metaspace"),
        *("Punctuation", "Whitespace", "WhitespaceSplit"),
    }
)


def is_linear(tokenizer: Tokenizer) -> bool:
    """Whether every step that a text takes before the vocabulary is known to take linear time."""
    parts: Mapping[str, Any] = json.loads(tokenizer.to_str())
    return all(_linear(step) for part in ("normalizer", "pre_tokenizer") for step in _steps(parts[part]))


def _steps(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if part is None:
        return
    nested = part.get("normalizers") or part.get("pretokenizers")
    if part["type"] != "Sequence":
        yield part
    for step in nested or ():
        yield from _steps(step)


def _linear(step: Mapping[str, Any]) -> bool:
    if step["type"] in _LINEAR_STEPS:
        return True
    pattern = step["pattern"] if step["type"] in ("Split", "Replace") else {}
    expression = pattern.get("Regex", "")
    return "String" in pattern or expression in _PATTERNS or _is_of_phrases(expression)


def _is_of_phrases(expression: str) -> bool:
    """Each character tries every phrase, so their length is limited too."""
    return len(expression) <= _LONGEST_OF_PHRASES and _PHRASES.fullmatch(expression) is not None
