"""Text to trace: where the steps, their statements, the closing passage and the answer stand. Not whether they hold.

Linear in the text and total: any string has a trace. The text is what a model writes after the prompt; it ends at its
first `</answer>` or `[EOS]`, where generation stops, and nothing behind that is read.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_STEPS = 256  # the longest gold trace of op 40 has about 30
MAX_STATEMENTS = 64  # of one step; a total of ten kinds, each a product, takes 20
EOS = "[EOS]"
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

_STEP = re.compile(r"Define\b")
_LOOSE_STEP = re.compile(r"[Dd]efine\b")
_FULL_STOP = re.compile(r"\.(?![0-9])")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


# One sentence or clause without its final `.` or `;`, stripped, and whether a `.` ended it.
Statement = tuple[str, bool]


class Step(NamedTuple):
    """One "Define NAME as L; ..." and all that follows up to the next; `letter` is "" where the form is broken.

    The step stands at characters [start, end) of the text.
    """

    name: str
    letter: str
    statements: list[Statement]
    start: int
    end: int


class Trace(NamedTuple):
    """A text, read: what comes before the first step, the steps, and the answer tag's content (None: no tag).

    `stray` is text between the end of the solution and the answer tag; `cut` is set when there are more than MAX_STEPS.
    """

    preamble: list[Statement]
    steps: list[Step]
    answer: str | None
    stray: str
    cut: bool


def read_trace(text: str) -> Trace:
    """Read the text a model wrote after the prompt."""
    text = text.partition("</answer>")[0].partition(EOS)[0]
    body, tag, answer = text.partition("<answer>")
    body, _, stray = body.partition("</solution>")
    opening, *chunks = _chunks(body)
    steps: list[Step] = []
    start = len(opening)
    for chunk in chunks[:MAX_STEPS]:
        steps.append(_step(chunk, start))
        start += len(chunk)
    return Trace(statements(opening), steps, answer if tag else None, stray.strip(), len(chunks) > MAX_STEPS)


def _chunks(body: str) -> list[str]:
    """The text before the first step, then one piece for every "Define"."""
    starts = [match.start() for match in (_LOOSE_STEP if "define" in body else _STEP).finditer(body)]
    return [body[start:end] for start, end in zip([0, *starts], [*starts, len(body)], strict=True)]


def statements(text: str) -> list[Statement]:
    """The sentences and clauses of a text; a `.` before a digit does not end one."""
    found: list[Statement] = []
    if ";" not in text and text[-1:] == "." and text.find(".") == len(text) - 1:  # one sentence: the usual case
        return [(sentence, True)] if (sentence := text[:-1].strip()) else []
    for piece in text.split(";"):
        clause = piece.strip()
        if not clause:
            continue
        if clause.find(".") in (-1, len(clause) - 1):
            closed = clause[-1] == "."
            found.append((clause[:-1].rstrip() if closed else clause, closed))
            continue
        *sentences, last = _FULL_STOP.split(clause)
        found += [(sentence.strip(), True) for sentence in sentences]
        found.append((last.strip(), False))
    return [statement for statement in found if statement[0]]


def _step(chunk: str, start: int) -> Step:
    chunk = chunk.rstrip()
    end = start + len(chunk)
    header, semicolon, rest = chunk.partition(";")
    words = header.split()
    if not semicolon or len(words) < 4 or words[0] != "Define" or words[-2] != "as" or words[-1] not in LETTERS:
        return Step(_guessed_name(words), "", [], start, end)
    return Step(" ".join(words[1:-2]), words[-1], statements(rest), start, end)


def _guessed_name(words: list[str]) -> str:
    """What a step of broken form seems to define, for the reader of the judgement."""
    return " ".join(words[1 : words.index("as")] if "as" in words else words[1:])[:200]


def read_number(text: str) -> str | None:
    """The number that `text` is, apart from spaces and one final full stop; None when it is anything else."""
    bare = text.strip().removesuffix(".").rstrip()
    return bare if _NUMBER.fullmatch(bare) else None
