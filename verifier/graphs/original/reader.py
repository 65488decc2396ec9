"""How the original scorer reads a trace: text to a graph of names, values and parents. Right or wrong is not asked.

An independent implementation of the published behaviour, faults included (letters inside English words are read as
variables, only the last link of a chain counts), so that published numbers can be compared with;
`verifier.graphs.judge.judge` is the judge to trust. Unlike the original it is linear in the text, evaluates nothing as
code, and gives up on arithmetic beyond a bound: where the original would hang, the expression has no value here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from verifier.graphs.original.arithmetic import evaluate

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BIT = {letter: 1 << index for index, letter in enumerate(_LETTERS)}
_LETTER_SET = frozenset(_LETTERS)

_TAG = re.compile(r"<[^>]+>")
_DEFINE = re.compile(r"define\s+", re.IGNORECASE)
_LAST_DEFINE = re.compile(r"\bdefine\s+", re.IGNORECASE)
_RUN = re.compile(r"[a-z\s]+", re.IGNORECASE)
_WORD = re.compile(r"\S+")
_ASSIGNMENT = re.compile(r"([A-Za-z])\s*=([^.;]+)")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_TAGGED_ANSWER = re.compile(r"<answer>\s*([-+]?\d+(?:\.\d+)?)", re.IGNORECASE)
_PLAIN_ANSWER = re.compile(r"Answer:\s*([-+]?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class ReferenceNode:
    """A quantity as the original scorer reads it; `value` is None where it finds no number."""

    name: str
    variable: str
    value: float | None
    parents: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReferenceGraph:
    """Nodes by name, in the order of first definition; a later step of the same name replaces the earlier one."""

    nodes: dict[str, ReferenceNode]
    answer: float | None
    steps: int


@dataclass(slots=True)
class _Step:
    """A step while it is read: `expressions` are the last links of the chains of its own letter."""

    name: str
    variable: str
    body: str
    value: float | None
    parents: frozenset[str]
    expressions: list[str]


def read_graph(text: str) -> ReferenceGraph:
    """Read a gold solution or a model's text the way the original does."""
    last = text.rfind(">") + 1
    cleaned = (_TAG.sub("", text[:last]) + text[last:]).strip()
    steps = _Executor().run(cleaned)
    nodes = {step.name: ReferenceNode(step.name, step.variable, step.value, step.parents) for step in steps}
    return ReferenceGraph(nodes, _answer(text), len(steps))


def _answer(text: str) -> float | None:
    match = _TAGGED_ANSWER.search(text) or _PLAIN_ANSWER.search(text)
    return float(match[1]) if match else None


# Finding the steps


@dataclass(frozen=True, slots=True)
class _Header:
    """One "Define NAME as L;": where it starts and ends, the name between, the letter."""

    start: int
    end: int
    name: str
    letter: str


def _headers(text: str) -> Iterator[_Header]:
    """The step headers of a text, leftmost first and each with the shortest name, in one pass.

    The end of a header is "as" or "a", then words, then a single letter directly before a semicolon. All such ends are
    collected first; every "Define" then takes the first one behind it.
    """
    tokens, semicolons = _header_ends(text)
    position = 0
    while match := _DEFINE.search(text, position):
        name_start = match.end()
        index = bisect_right(tokens, name_start)
        if index and tokens[index - 1] == name_start and text[name_start - 2].isspace() and index == len(tokens):
            index -= 1  # "Define  as x;": two spaces leave room for an empty name, and nothing later fits
        if index == len(tokens):
            return
        semicolon = semicolons[index]
        yield _Header(match.start(), semicolon + 1, _name(text[name_start : tokens[index]]), text[semicolon - 1])
        position = semicolon + 1


def _header_ends(text: str) -> tuple[list[int], list[int]]:
    """Offsets of every "as" or "a" that can close a name, and of the semicolon each belongs to."""
    tokens: list[int] = []
    semicolons: list[int] = []
    for run in _RUN.finditer(text):
        if not text.startswith(";", run.end()):
            continue
        words = list(_WORD.finditer(text, run.start(), run.end()))
        if len(words) < 2 or len(words[-1][0]) != 1 or words[-1].end() != run.end():
            continue
        for word in words[:-1]:
            if word.start() > run.start() and word[0].casefold() in ("as", "a"):
                tokens.append(word.start())
                semicolons.append(run.end())
    return tokens, semicolons


def _name(raw: str) -> str:
    """A name with runs of spaces made one; of several "Define" before one semicolon the last one counts."""
    name = " ".join(raw.split()).replace("\N{REPLACEMENT CHARACTER}", "").strip(" .;")
    starts = [0, *(match.end() for match in _LAST_DEFINE.finditer(name))]
    return name[starts[-1] :].strip(" .;")


# Executing the steps


class _Executor:
    """The original's global tables: which quantity a letter stands for, and the last number it was given."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._values: dict[str, float] = {}

    def run(self, text: str) -> list[_Step]:
        headers = list(_headers(text))
        ends = [*(header.start for header in headers), len(text)][1:]
        steps = [self._step(header, text[header.end : end]) for header, end in zip(headers, ends, strict=False)]
        for step in steps:
            self._settle(step)
        return steps

    def _step(self, header: _Header, body: str) -> _Step:
        body = body.strip().partition("Answer:")[0].strip()
        step = _Step(header.name, header.letter, body, None, frozenset(), [])
        helpers: dict[str, int] = {}
        reads = 0
        for match in _ASSIGNMENT.finditer(body):
            letter, right = match[1], match[2]
            last_link = right.rpartition("=")[2].strip()
            found = self._reads(right, helpers)
            if letter == step.variable:
                reads |= found
                if last_link:
                    step.expressions.append(last_link)
            else:
                helpers[letter] = helpers.get(letter, 0) | found
            value = evaluate(last_link, self._values)
            if value is None:
                value = _last_number(match[0])
            if value is not None:
                self._values[letter] = value
                if letter == step.variable:
                    step.value = value
        if step.value is None:
            step.value = _last_number(body)
            if step.value is not None:
                self._values[step.variable] = step.value
        step.parents = frozenset(name for letter, name in self._owners.items() if _BIT.get(letter, 0) & reads)
        self._owners[step.variable] = step.name
        return step

    def _reads(self, expression: str, helpers: dict[str, int]) -> int:
        """Letters of earlier quantities in the expression, as bits; a helper letter brings those it was built from."""
        reads = 0
        for letter in _LETTER_SET.intersection(expression):
            if letter in self._owners:
                reads |= _BIT[letter]
            reads |= helpers.get(letter, 0)
        return reads

    def _settle(self, step: _Step) -> None:
        """A second look, with the values of the whole text, at a step without one; failing that, its letter's value."""
        if step.value is None:
            found = (evaluate(expression, self._values) for expression in reversed(step.expressions))
            step.value = next((value for value in found if value is not None), None)
        if step.value is None:
            step.value = self._values.get(step.variable)
        if step.value is not None:
            self._values[step.variable] = step.value


def _last_number(text: str) -> float | None:
    found = _NUMBER.findall(text)
    return float(found[-1]) if found else None
