"""Executing the statements of a trace over a table of letters: assignments, chains of equalities, what they read.

It knows letters, forms and the names they stand for, not what the problem says: whether a step is right is decided in
`verifier.graphs.judge.judge`, and the gold trace is executed by the same code in `verifier.graphs.judge.gold`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from verifier.graphs.judge.arithmetic import (
    MAX_MEMORY,
    MAX_REMEMBERED,
    PRIME,
    Expression,
    Form,
    Unreadable,
    evaluate,
    read_expression,
)
from verifier.graphs.judge.trace import LETTERS, MAX_STATEMENTS, Step

# An English clause may follow a value, but not one that would do arithmetic, claim a value or deny what is written.
_CLAUSE = re.compile(r",?\s*[A-Za-z]{2,}[A-Za-z\s,'-]*")
_LOADED = re.compile(
    r"\b(?:plus|minus|times|divided|multiplied|added|subtracted|sum|difference|product|over|half|double|twice|thrice|"
    r"triple|third|quarter|squared|cubed|more|less|fewer|equals?|zero|one|two|three|four|five|six|seven|eight|nine|ten|"
    r"eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|dozen|not|\w+n't|"
    r"never|nor?|neither|none|nothing|cannot|rather|instead|false|wrong|incorrect|untrue|mistaken?|errors?|lies?|"
    r"define|solution|know)\b",
    re.IGNORECASE,
)


class Chain(NamedTuple):
    """One executed assignment "L = e1 = e2 = ... = en".

    `read` is what the first link is worth, with the operands it reads; `claimed` what the last one says; `false_link`
    the first equality that does not hold.
    """

    letter: str
    first: Expression
    read: Form
    last: Expression
    claimed: Form
    false_link: str | None


# An executed step: the chain that gives its own letter a value (None: it has none), the first equality of any statement
# that does not hold, whether a wrong step's result was read, and how many statements this took.
Body = tuple[Chain | None, str | None, bool, int]


class Table:
    """The letters of a trace: their forms, whose they are, and which of them stem from a wrong step."""

    __slots__ = ("forms", "owners", "tainted")

    def __init__(self) -> None:
        self.forms: dict[str, Form] = {}
        self.owners: dict[str, frozenset[str]] = {}
        self.tainted: set[str] = set()

    def bind(self, letter: str, form: Form, owners: frozenset[str], tainted: bool) -> None:
        """Let a letter stand for a quantity, or for a partial result built from several."""
        self.forms[letter] = form
        self.owners[letter] = owners
        if tainted:
            self.tainted.add(letter)
        elif self.tainted:
            self.tainted.discard(letter)

    def drop(self, letter: str) -> None:
        """Let a letter stand for nothing any more."""
        self.forms.pop(letter, None)
        self.owners.pop(letter, None)
        self.tainted.add(letter)

    def owners_of(self, expression: Expression) -> frozenset[str]:
        """The quantities that an expression reads, directly or through partial results."""
        owners = frozenset[str]()
        for letter in expression.letters:
            owners |= self.owners[letter]
        return owners

    def taints(self, expression: Expression) -> bool:
        """Whether an expression reads anything that stems from a wrong step."""
        return bool(self.tainted) and not self.tainted.isdisjoint(expression.letters)


def run_body(step: Step, table: Table) -> Body:
    """Execute a step's statements up to and with the one that gives its own letter a value.

    Raises:
        Unreadable: a statement before it is no assignment, or cannot be evaluated.
    """
    false_link: str | None = None
    tainted = False
    for used, (text, closed) in enumerate(step.statements[:MAX_STATEMENTS], 1):
        chain = run_assignment(text, table)
        false_link = false_link or chain.false_link
        tainted = tainted or table.taints(chain.first)
        if chain.letter == step.letter:
            return chain, false_link, tainted, used
        if closed:
            raise Unreadable(f"the step ends before {step.letter} has a value")
        table.bind(chain.letter, chain.read, table.owners_of(chain.first), tainted)
    if len(step.statements) > MAX_STATEMENTS:
        raise Unreadable("a step of too many statements")
    return None, false_link, tainted, len(step.statements)


def run_assignment(text: str, table: Table) -> Chain:
    """Evaluate "so L = e1 = e2 = ... = en", the "so" being optional; every link must be worth the same.

    Raises:
        Unreadable: it is not of that form, or a link is no expression or reads an undefined letter.
    """
    letter, links = read_assignment(text)
    forms = table.forms
    first = last = links[0]
    read = claimed = evaluate(first, forms)
    constant, slope, _, _ = read
    false_link: str | None = None
    for index in range(1, len(links)):
        last = links[index]
        claimed = last.fixed or evaluate(last, forms)
        if (claimed[0] != constant or claimed[1] != slope) and false_link is None:
            written = text.split("=")
            false_link = f"{shown(written[index])} is not {shown(written[index + 1])}"
    return Chain(letter, first, read, last, claimed, false_link)


def read_assignment(text: str) -> tuple[str, tuple[Expression, ...]]:
    """The letter and the links of an assignment; what they are worth is not asked.

    Raises:
        Unreadable: it is not of that form, or a link is no expression.
    """
    known = _memory.get(text)
    if known is not None:
        return known
    target, *links = text.split("=")
    words = target.split()
    letter = words[-1] if words and words[:-1] in ([], ["so"]) else ""
    if letter not in LETTERS or not links:
        raise Unreadable(f"{shown(text)} cannot be read")
    *inner, last = links
    assignment = letter, (*(read_link(link, prose=False) for link in inner), read_link(last, prose=True))
    if len(text) <= MAX_REMEMBERED:
        if len(_memory) >= MAX_MEMORY:
            _memory.clear()
        _memory[text] = assignment
    return assignment


_memory: dict[str, tuple[str, tuple[Expression, ...]]] = {}


def read_link(text: str, prose: bool) -> Expression:
    """Read an expression that is all of the text, but for an English clause behind it where `prose` allows one.

    Raises:
        Unreadable: there is anything else.
    """
    expression = read_expression(text)
    if expression.rest and not (prose and is_clause(expression.rest)):
        raise Unreadable(f"{shown(expression.rest)} cannot be read")
    return expression


def is_prose(text: str) -> bool:
    """Whether a text holds words and nothing that could be mathematics."""
    return _CLAUSE.fullmatch(text) is not None


def is_clause(text: str) -> bool:
    """Whether a text is prose that neither calculates nor denies."""
    return is_prose(text) and _LOADED.search(text) is None


def same_value(left: Form, right: Form) -> bool:
    """Whether two forms are the same number, or the same expression in the unknown."""
    return left[0] == right[0] and left[1] == right[1]


def shown(text: str) -> str:
    """A piece of text quoted for a reason: short, and printable whatever it holds."""
    short = " ".join(text[:60].split())
    return ascii(short if len(short) <= 40 else short[:37] + "...")


def bound(name: str, value: Form) -> Form:
    """The form of a letter that stands for the quantity `name`: the value, and the quantity's own pseudo-randoms."""
    mark, reads = _marks(name) if len(name) <= 200 else (1, 1)
    return value[0], value[1], mark, reads


@lru_cache(maxsize=1 << 14)
def _marks(name: str) -> tuple[int, int]:
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8]) % PRIME or 1, int.from_bytes(digest[8:]) % PRIME or 1
