"""From the words of a problem to statements about named quantities: the language of the task, read by a plain grammar.

It reads what a problem says and works nothing out; `verifier.graphs.solver.solve` does that. It shares no code and no
vocabulary with the modules that write problems: places and kinds are whatever stands where the grammar expects them, so
it is a second opinion on every text. Reading takes time linear in the length of the text and never raises.

The grammar, over text with runs of white space counted as one space:

    statement  The QUANTITY equals EXPRESSION. | The QUANTITY exists, and its number is greater than 0.
               | The QUANTITY is greater than 0.
    EXPRESSION NUMBER | the QUANTITY | NUMBER plus TERM | NUMBER times TERM   (TERM: an EXPRESSION that is no NUMBER)
               | the sum of the QUANTITY, the QUANTITY, and the QUANTITY | the difference between the Q and the Q
    QUANTITY   number of KIND in PLACE | total number of THINGS in PLACE | average number of UNITS per KIND in PLACE
    question   How many KIND does PLACE have? | What is the QUANTITY?
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal

# A total counts things, or it weighs each kind's count by its average. The words are the only clue to which.
COUNTED = frozenset({"adult animals", "schools", "movies"})
WEIGHTED = frozenset({"newborn animal children", "teachers from all schools", "movie nominations"})

MAX_DIGITS = 18  # a longer number is a typing error or an attack; no problem of op 40 comes near
MAX_REMEMBERED = 200  # characters of a name; longer ones are read anew, so that no text fills the memory

_SENTENCE_END = re.compile(r"\.(?= |$)")
_SUBJECT = re.compile(r"The (.+?)( equals | exists, and its number is greater than 0$| is greater than 0$)", re.DOTALL)
_FACTOR = re.compile(r"([0-9]+) (plus|times) ")
_NUMBER = re.compile(r"[0-9]+")
_OPERAND_GAP = re.compile(r",? and the |, the ")
_TAGS = re.compile(r"</?(?:question|solution)>")
_QUESTION_START = re.compile(r"How many |What is the ")


class Defect(StrEnum):
    """Why a text has no derivation."""

    UNREADABLE = "unreadable"  # a sentence outside the language
    UNDEFINED = "undefined"  # a needed quantity that no sentence gives
    CIRCULAR = "circular"  # a quantity given by way of itself
    UNDETERMINED = "undetermined"  # the unknown may have any value
    CONTRADICTORY = "contradictory"  # two sentences disagree, or no positive whole number fits
    NONLINEAR = "nonlinear"  # a product of two quantities that both hold the unknown
    TOO_LARGE = "too large"  # a number beyond any problem's


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a text: the kind, the reason in words, and the sentence at fault where one is to blame."""

    defect: Defect
    reason: str
    sentence: str | None = None


@dataclass(frozen=True, slots=True)
class Mention:
    """A quantity as a text names it; two mentions of one quantity are equal.

    `name` is the name that a trace gives it (a count goes without its "number of"). `things` is the KIND of a count,
    the THINGS of a total, the UNITS of an average; `kind` is the kind of a count or an average, empty for a total.
    """

    name: str
    role: Literal["count", "total", "average"]
    things: str
    kind: str
    place: str


@dataclass(frozen=True, slots=True)
class Expression:
    """A right side: `factors` from the outside in ("2 times", "3 plus"), around `number` or a join of `operands`."""

    factors: tuple[tuple[Literal["plus", "times"], int], ...]
    join: Literal["number", "copy", "sum", "difference"]
    number: int
    operands: tuple[Mention, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence. `expression` is None where it only says that the subject exists and is greater than 0."""

    subject: Mention
    expression: Expression | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A whole text: its statements in order and the quantity asked for."""

    statements: tuple[Statement, ...]
    query: Mention


def read(problem: str, question: str) -> Reading | Fault:
    """Both texts as statements, or the first sentence that is outside the language."""
    statements: list[Statement] = []
    text = " ".join(problem.split())
    start = 0
    for end in _SENTENCE_END.finditer(text):
        statement = _read_statement(text[start : end.start()].strip())
        if isinstance(statement, Fault):
            return statement
        statements.append(statement)
        start = end.end()
    if rest := text[start:].strip():
        return _unreadable(rest, "the last sentence has no full stop")
    query = _read_question(" ".join(question.split()))
    return query if isinstance(query, Fault) else Reading(tuple(statements), query)


def split_text(text: str) -> tuple[str, str]:
    """One running text as (problem, question): the question is what follows the last "How many" or "What is the".

    Tags of the prompt are dropped. A text without a question gives an empty one, which `read` then reports.
    """
    text = _TAGS.sub(" ", text)
    starts = [match.start() for match in _QUESTION_START.finditer(text)]
    if not starts:
        return text.strip(), ""
    return text[: starts[-1]].strip(), text[starts[-1] :].strip()


def _read_statement(sentence: str) -> Statement | Fault:
    match = _SUBJECT.match(sentence)
    if match is None:
        wanted = '"The ... equals ..." or "The ... exists, and its number is greater than 0"'
        return _unreadable(sentence, f"the sentence is not of the form {wanted}")
    subject = _read_quantity(match[1])
    if subject is None:
        return _unreadable(sentence, f'"{_clip(match[1])}" does not name a quantity')
    if match[2] != " equals ":
        return Statement(subject, None, sentence + ".")
    expression = _read_expression(sentence, match.end())
    return expression if isinstance(expression, Fault) else Statement(subject, expression, sentence + ".")


def _read_expression(sentence: str, start: int) -> Expression | Fault:
    factors: list[tuple[Literal["plus", "times"], int]] = []
    while match := _FACTOR.match(sentence, start):
        if len(match[1]) > MAX_DIGITS:
            return _too_large(sentence)
        factors.append(("plus" if match[2] == "plus" else "times", int(match[1])))
        start = match.end()
    if not factors and (match := _NUMBER.fullmatch(sentence, start)):
        return _too_large(sentence) if len(match[0]) > MAX_DIGITS else Expression((), "number", int(match[0]), ())
    join, operands = _read_operands(sentence[start:])
    if not operands:
        return _unreadable(sentence, f'cannot read "{_clip(sentence[start:])}"')
    return Expression(tuple(factors), join, 0, operands)


def _read_operands(text: str) -> tuple[Literal["copy", "sum", "difference"], tuple[Mention, ...]]:
    """The join and its operands; no operands where the text is not of the language."""
    join: Literal["copy", "sum", "difference"] = "copy"
    body = text.removeprefix("the ")
    if text.startswith("the sum of the "):
        join, body = "sum", text.removeprefix("the sum of the ")
    elif text.startswith("the difference between the "):
        join, body = "difference", text.removeprefix("the difference between the ")
    if body == text:
        return join, ()
    operands = [_read_quantity(part) for part in _OPERAND_GAP.split(body)]
    found = tuple(operand for operand in operands if operand is not None)
    complete = len(found) == len(operands)
    fits = {"copy": len(found) == 1, "sum": len(found) >= 2, "difference": len(found) == 2}[join]
    return join, found if complete and fits else ()


def _read_quantity(text: str) -> Mention | None:
    return _mention(text) if len(text) <= MAX_REMEMBERED else _mention.__wrapped__(text)


@lru_cache(maxsize=4096)
def _mention(text: str) -> Mention | None:
    """Remembered, because the texts of one template use a few hundred names over and over."""
    phrase, _, place = text.rpartition(" in ")
    if not place:
        return None
    if kind := _after("number of ", phrase):
        return _count(kind, place)
    if things := _after("total number of ", phrase):
        return Mention(text, "total", things, "", place) if things in COUNTED or things in WEIGHTED else None
    unit, _, kind = _after("average number of ", phrase).partition(" per ")
    return Mention(text, "average", unit, kind, place) if unit and kind else None


def _count(kind: str, place: str) -> Mention:
    return Mention(f"{kind} in {place}", "count", kind, kind, place)


def _after(prefix: str, text: str) -> str:
    return text[len(prefix) :] if text.startswith(prefix) else ""


def _read_question(question: str) -> Mention | Fault:
    kind, does, place = _after("How many ", question).partition(" does ")
    if kind and does and place.endswith(" have?") and place != " have?":
        return _count(kind, place.removesuffix(" have?"))
    query = _read_quantity(_after("What is the ", question).removesuffix("?")) if question.endswith("?") else None
    wanted = '"How many ... does ... have?" or "What is the ...?"'
    return query or _unreadable(question, f"the question is not of the form {wanted}")


def _unreadable(sentence: str, reason: str) -> Fault:
    return Fault(Defect.UNREADABLE, reason, _clip(sentence))


def _too_large(sentence: str) -> Fault:
    return Fault(Defect.TOO_LARGE, f"it holds a number of more than {MAX_DIGITS} digits", _clip(sentence))


def _clip(text: str, length: int = 200) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
