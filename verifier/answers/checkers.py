"""How a final answer is compared with the right one: exact, choice, number or math.

Pure functions of a text and the right answer. `math` is the library math-verify (extra [math]): it reads LaTeX and
plain formulas and compares them with SymPy. Its own time limit needs signals, which only a main thread has, and is
switched off: the caller ends a judge that hangs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isclose, isfinite
from typing import Any, Literal

from verifier.extras import need
from verifier.final_answer import final_answer
from verifier.judgement import MAX_TEXT, Judgement, cut

MATH_REQUIREMENT = "math-verify==0.9.0"

Checker = Literal["exact", "choice", "number", "math"]


@dataclass(frozen=True, slots=True)
class Checking:
    """The right answer, and how far a number may be off, absolutely or as a share of it."""

    right: str
    tolerance: float


def exact(text: str, against: Checking) -> Judgement:
    """Equal texts, whatever the spaces and the case of letters."""
    answer = final_answer(text)
    if answer is None:
        return Judgement(right=False)
    return Judgement(right=_plain(answer) == _plain(against.right), answer=cut(answer))


def choice(text: str, against: Checking) -> Judgement:
    """The last single letter, alone or in brackets: "B", "(b)", "The answer is B."."""
    answer = final_answer(text)
    letters = _LETTER.findall(answer or "")
    picked = letters[-1].upper() if letters else None
    return Judgement(right=picked is not None and picked == against.right.strip(_AROUND).upper(), answer=picked)


def number(text: str, against: Checking) -> Judgement:
    """The last number of the answer, within the tolerance; commas between thousands are ignored."""
    answer = final_answer(text)
    numbers = _NUMBER.findall(answer or "")
    found = numbers[-1] if numbers else None
    return Judgement(right=found is not None and _close(found, against), answer=found and cut(found))


def math(text: str, against: Checking) -> Judgement:
    """Equal as mathematics, by math-verify: "1/2", "0.5" and "\\frac{1}{2}" are one answer.

    What is longer than MAX_TEXT is no formula and is not parsed, which could take minutes.
    """
    answer = final_answer(text)
    if answer is None or len(answer) > MAX_TEXT:
        return Judgement(right=False, answer=answer and cut(answer))
    library: Any = need("math_verify", "math", MATH_REQUIREMENT)
    gold, found = (_parsed(library, each) for each in (against.right, answer))
    right = bool(found) and library.verify(gold, found, timeout_seconds=None, raise_on_error=True)
    return Judgement(right=right, answer=answer)


CHECKERS: dict[Checker, Callable[[str, Checking], Judgement]] = {
    "exact": exact,
    "choice": choice,
    "number": number,
    "math": math,
}


def check_ready(checker: Checker) -> None:
    """Raises BadTask where the checker needs a package that is not installed."""
    if checker == "math":
        need("math_verify", "math", MATH_REQUIREMENT)


def is_choice(text: str) -> bool:
    """Whether the text is a single letter, alone or in brackets."""
    return _LETTER.fullmatch(text.strip(_AROUND)) is not None


def is_number(text: str) -> bool:
    """Whether the whole text is one finite number."""
    return _NUMBER.fullmatch(text.strip()) is not None and isfinite(_value(text))


_AROUND = "() ."
_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:[eE][-+]?\d+)?")


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _close(found: str, against: Checking) -> bool:
    value = _value(found)
    return isfinite(value) and isclose(
        value, _value(against.right), rel_tol=against.tolerance, abs_tol=against.tolerance
    )


def _value(text: str) -> float:
    return float(text.replace(",", ""))


def _parsed(library: Any, text: str) -> list[Any]:
    """What math-verify reads in the text: as LaTeX, for which it asks for dollars around it, else as it stands."""
    latex = text if "$" in text else f"${text}$"
    return library.parse(latex, parsing_timeout=None) or library.parse(text, parsing_timeout=None)
