"""Reads the reference's gold traces back into graphs, for comparison with our own.

Not a verifier: it trusts the text, looks at the first link of every statement only, and fails on anything else.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verifier.graphs.problem import Graph, Operation, Quantity, Template

TEMPLATE: dict[str, Template] = {
    "crazy_zootopia": "zoo",
    "teachers_in_school": "school",
    "movie_festival_awards": "movie",
}

_STEP = re.compile(r"Define (.*?) as (\w);(.*?)\. (?=Define |We know|Answer:)")
_STATEMENT = re.compile(r"(?:so )?(\w) = ([^=;]+?) =|(?:so )?(\w) = ([^=;]+)$")
_PLUS = {"copy": Operation.PLUS, "sum": Operation.PLUS_SUM, "difference": Operation.PLUS_DIFFERENCE}
_TIMES = {"copy": Operation.TIMES, "sum": Operation.TIMES_SUM, "difference": Operation.TIMES_DIFFERENCE}


@dataclass(frozen=True, slots=True)
class Told:
    """One reference problem: its row, its graph without distractors and the letters of its trace in drawing order."""

    row: dict[str, Any]
    graph: Graph
    letters: tuple[str, ...]


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of problems.jsonl.gz."""
    with gzip.open(folder / "problems.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read(row: dict[str, Any]) -> Told:
    """The graph behind a row's solution."""
    value = {name: true for (name, *_), true in zip(row["gold"], row["true_values"], strict=True)}
    reader = _Reader()
    quantities = []
    for name, letter, body in _STEP.findall(row["solution"]):
        operation, parents, constant = reader.step(name, letter, body.strip())
        quantities.append(Quantity(name, operation, parents, constant, int(value[name])))
    needed = tuple(quantities)
    unknown = [quantity.name for quantity in needed if quantity.operation is Operation.UNKNOWN]
    last = needed[-1].name
    graph = Graph(needed, (), unknown[0], last) if unknown else Graph(needed, (), last)
    return Told(row, graph, tuple(reader.letters))


class _Reader:
    def __init__(self) -> None:
        self.letters: list[str] = []
        self._name: dict[str, str] = {}

    def step(self, name: str, letter: str, body: str) -> tuple[Operation, tuple[str, ...], int | None]:
        if body.startswith("we don't know"):
            self._name[letter] = name
            return Operation.UNKNOWN, (), None
        self.letters.append(letter)
        helpers: dict[str, list[Any]] = {}
        tree: list[Any] = []
        for statement in body.split("; "):
            match = _STATEMENT.match(statement)
            assert match, statement
            left, right = match[1] or match[3], match[2] or match[4]
            tree = self._tree(right, helpers)
            if left != letter:
                self.letters.append(left)
                helpers[left] = tree
        self._name[letter] = name
        return self._classify(name, tree)

    def _tree(self, right: str, helpers: dict[str, list[Any]]) -> list[Any]:
        """["copy", a] or [sign, a, b], where an operand is a constant, a quantity's name or a helper's tree."""
        tokens = right.split(" ")
        operands = [int(token) if token.isdigit() else helpers.get(token) or self._name[token] for token in tokens[::2]]
        return ["copy", *operands] if len(tokens) == 1 else [tokens[1], *operands]

    def _classify(self, name: str, tree: list[Any]) -> tuple[Operation, tuple[str, ...], int | None]:
        if name.startswith("total"):
            weighted = "*" in str(tree)
            return Operation.WEIGHTED_TOTAL if weighted else Operation.TOTAL, tuple(_leaves(tree)), None
        sign, first = tree[0], tree[1]
        if sign == "copy":
            return (Operation.LITERAL, (), first) if isinstance(first, int) else (Operation.COPY, (first,), None)
        if isinstance(first, int):
            inner = tree[2]
            form = {"copy": "copy", "+": "sum", "-": "difference"}[inner[0]]
            return (_TIMES if sign == "*" else _PLUS)[form], tuple(_leaves(inner)), first
        return (Operation.SUM if sign == "+" else Operation.DIFFERENCE), tuple(_leaves(tree)), None


def _leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    else:
        for operand in tree[1:]:
            yield from _leaves(operand)
