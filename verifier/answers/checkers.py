"""How a final answer is compared with the right one: exact, choice, number or math.

Pure functions of a text and the right answer. `math` is the library math-verify (extra [math]): it reads LaTeX and
plain formulas and compares them with SymPy. Its own time limit needs signals, which only a main thread has, and is
switched off: the caller ends a judge that hangs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from verifier.extras import need
from verifier.final_answer import final_answer
from verifier.judgement import MAX_TEXT, Judgement, cut

MATH_REQUIREMENT = "math-verify==0.9.0"

Checker = Literal["exact", "choice", "number", "math"]


DEFAULT_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class RightAnswer:
    """The right answer, and how far a number may be off, absolutely or as a share of it.

    Without a tolerance a whole number must be met exactly, any other to DEFAULT_TOLERANCE.
    """

    text: str
    tolerance: float | None = None


def exact(text: str, against: RightAnswer) -> Judgement:
    """Equal texts, whatever the spaces and the case of letters."""
    answer = final_answer(text)
    if answer is None:
        return Judgement(right=False)
    return Judgement(right=_plain(answer) == _plain(against.text), answer=cut(answer))


def choice(text: str, against: RightAnswer) -> Judgement:
    """The last single letter, alone or in brackets: "B", "(b)", "The answer is B."."""
    answer = final_answer(text)
    letters = _LETTER.findall(answer or "")
    picked = letters[-1].upper() if letters else None
    return Judgement(right=picked is not None and picked == against.text.strip(_AROUND).upper(), answer=picked)


def number(text: str, against: RightAnswer) -> Judgement:
    """The last number of the answer, within the tolerance; commas between thousands are ignored.

    A fraction is one number, written as 3/4 or in LaTeX.
    """
    numbers = _NUMBER.findall(_written_plainly(final_answer(text) or ""))
    found = numbers[-1] if numbers else None
    return Judgement(right=found is not None and _is_close(found, against), answer=found and cut(found))


def math(text: str, against: RightAnswer) -> Judgement:
    """Equal as mathematics, by math-verify: "1/2", "0.5" and "\\frac{1}{2}" are one answer.

    What is longer than MAX_TEXT is no formula and is not parsed, which could take minutes.
    """
    answer = final_answer(text)
    if answer is None or len(answer) > MAX_TEXT:
        return Judgement(right=False, answer=answer and cut(answer))
    library: Any = need("math_verify", "math", MATH_REQUIREMENT)
    gold, found = (_parsed(library, each) for each in (against.text, answer))
    right = bool(found) and library.verify(gold, found, timeout_seconds=None, raise_on_error=True)
    return Judgement(right=right, answer=answer)


CHECKERS: dict[Checker, Callable[[str, RightAnswer], Judgement]] = {
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
    """Whether the whole text is one number, and its size within bounds."""
    return _NUMBER.fullmatch(_written_plainly(text.strip())) is not None and _value(text) is not None


_AROUND = "() ."
# No part of a word, nor what an apostrophe parts from one: "it's", "don't".
_LETTER = re.compile(r"(?<![A-Za-z])(?<![A-Za-z]['\u2019])[A-Za-z](?!['\u2019]?[A-Za-z])")
# Dashes that are written for a minus.
_SIGNS = str.maketrans(dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}", "-"))
# Behind a word or another number stands no sign: "10-3".
_DECIMAL = r"(?:(?<!\w)[-+])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(rf"{_DECIMAL}(?:\s*/\s*{_DECIMAL})?")
_FRACTION = re.compile(rf"\\[dt]?frac\s*+\{{?+\s*+({_DECIMAL})\s*+\}}?+\s*+\{{?+\s*+({_DECIMAL})\s*+\}}?+")
_LONGEST = 308  # characters of a number, and its power of ten: as far as a float goes


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _written_plainly(text: str) -> str:
    r"""The text with other signs for minus, and \frac{3}{4}, as they are typed: -, 3/4."""
    return _FRACTION.sub(r"\1/\2", text.translate(_SIGNS))


def _is_close(found: str, against: RightAnswer) -> bool:
    value, right = _value(found), _value(against.text)
    if value is None or right is None:
        return False
    tolerance = against.tolerance
    if tolerance is None:
        tolerance = 0.0 if right.denominator == 1 else DEFAULT_TOLERANCE
    return abs(value - right) <= Fraction(str(tolerance)) * max(1, abs(right))


def _value(text: str) -> Fraction | None:
    """The exact value of a number or a fraction; None for a division by zero and for what is beyond all bounds."""
    above, _, below = _written_plainly(text.strip()).replace(",", "").partition("/")
    dividend, divisor = _decimal(above), _decimal(below or "1")
    return dividend / divisor if dividend is not None and divisor else None


def _decimal(digits: str) -> Fraction | None:
    if len(digits) > _LONGEST:
        return None
    mantissa, _, exponent = digits.lower().partition("e")
    power = int(exponent or 0)
    return Fraction(mantissa) * Fraction(10) ** power if abs(power) <= _LONGEST else None


def _parsed(library: Any, text: str) -> list[Any]:
    """What math-verify reads in the text: as LaTeX, for which it asks for dollars around it, else as it stands."""
    latex = text if "$" in text else f"${text}$"
    return library.parse(latex, parsing_timeout=None) or library.parse(text, parsing_timeout=None)
