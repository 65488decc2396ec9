"""Text to trace: where the steps, their statements, the closing passage and the answer stand. Not whether they hold.

Linear in the text and total: any string has a trace. Every pattern here is a sequence of disjoint character classes, so
none can backtrack. The text is what a model writes after the prompt; it ends at its first `</answer>` or `[EOS]`, where
generation stops, and nothing behind that is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_STEPS = 256  # the longest gold trace has 20
EOS = "[EOS]"
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

_STEP = re.compile(r"\b[Dd]efine\b")
_STATEMENT = re.compile(r"[^.;]*(?:\.(?=[0-9])[^.;]*)*[.;]?")
_NUMBER = re.compile(r"\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*\.?\s*")


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence or clause without its final `.` or `;`, stripped; `closed` says whether a `.` ended it."""

    text: str
    start: int
    end: int
    closed: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One "Define NAME as L; ..." and all that follows up to the next; `letter` is None where the form is broken."""

    name: str
    letter: str | None
    statements: tuple[Statement, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A text, read: what comes before the first step, the steps, and the answer tag's content (None: no tag).

    `stray` is text between the end of the solution and the answer tag; `cut` is set when there are more than MAX_STEPS.
    """

    preamble: tuple[Statement, ...]
    steps: tuple[Step, ...]
    answer: str | None
    stray: str
    cut: bool


def read_trace(text: str) -> Trace:
    """Read the text a model wrote after the prompt."""
    text = _before(_before(text, "</answer>"), EOS)
    body, tag, answer = text.partition("<answer>")
    body, _, stray = body.partition("</solution>")
    starts = [match.start() for match, _ in zip(_STEP.finditer(body), range(MAX_STEPS + 1), strict=False)]
    cut = len(starts) > MAX_STEPS
    bounds = [*starts, len(body)]
    steps = tuple(_step(body, start, end) for start, end in zip(starts[:MAX_STEPS], bounds[1:], strict=False))
    return Trace(tuple(statements(body, 0, bounds[0])), steps, answer if tag else None, stray.strip(), cut)


def _before(text: str, mark: str) -> str:
    return text.partition(mark)[0]


def statements(text: str, start: int, end: int) -> list[Statement]:
    """The sentences and clauses of `text[start:end]`; a `.` between a number and a digit does not end one."""
    found: list[Statement] = []
    for match in _STATEMENT.finditer(text, start, end):
        piece = match[0]
        closed = piece.endswith(".")
        stripped = (piece[:-1] if closed or piece.endswith(";") else piece).strip()
        if stripped:
            found.append(Statement(stripped, match.start(), match.end(), closed))
    return found


def _step(body: str, start: int, end: int) -> Step:
    stop = start + len(body[start:end].rstrip())
    semicolon = body.find(";", start, end)
    words = body[start:semicolon].split() if semicolon >= 0 else []
    if len(words) < 4 or words[0] != "Define" or words[-2] != "as" or len(words[-1]) != 1 or words[-1] not in LETTERS:
        return Step(_guessed_name(body[start:end]), None, (), start, stop)
    return Step(" ".join(words[1:-2]), words[-1], tuple(statements(body, semicolon + 1, end)), start, stop)


def _guessed_name(chunk: str) -> str:
    """What a step of broken form seems to define, for the reader of the verdict."""
    words = chunk.split(maxsplit=16)[1:16]
    return " ".join(words[: words.index("as")] if "as" in words else words)


def read_number(text: str) -> str | None:
    """The number that is the whole of `text`, but for blanks and one final full stop; None when it is anything else."""
    match = _NUMBER.fullmatch(text)
    return match[1] if match else None
