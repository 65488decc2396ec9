"""How a final answer is compared with the right one: exact, choice, number or math.

Pure functions of a text and the right answer. `math` is the library math-verify (extra [math]): it reads LaTeX and
plain formulas and compares them with SymPy. Its own time limit needs signals, which only a main thread has, and is
switched off: the caller ends a judge that hangs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from verifier.final_answer import final_answer
from verifier.judgement import MAX_TEXT, Judgement, cut
from verifier.outside.extras import need

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
    """Equal texts, whatever the spaces, the case of letters and the code points of an accented one."""
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
    """The last number of the answer, within the tolerance; what parts its thousands is ignored, but for a plain space.

    A fraction is one number, written as 3/4, 2 3/4 or in LaTeX.
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
# The letters of words in Latin script, with accents of their own or behind them.
_LATIN = r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u036f"
# No part of a word, nor what an apostrophe parts from one: "it's", "don't", "f\u00fcr".
_LETTER = re.compile(rf"(?<![{_LATIN}])(?<![{_LATIN}]['\u2019])[A-Za-z](?!['\u2019]?[{_LATIN}])")
# Dashes that are written for a minus.
_SIGNS = str.maketrans(dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}", "-"))
# Behind a word or another number stands no sign: "10-3".
_DECIMAL = r"(?:(?<!\w)[-+])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:[eE][-+]?\d+)?"
_MIXED = r"(?:(?<!\w)[-+])?\d++ ++\d++\s*+/\s*+\d++"
_NUMBER = re.compile(rf"{_MIXED}|{_DECIMAL}(?:\s*/\s*{_DECIMAL})?")
_FRACTION = re.compile(rf"\\[dt]?frac\s*+\{{?+\s*+({_DECIMAL})\s*+\}}?+\s*+\{{?+\s*+({_DECIMAL})\s*+\}}?+")
# What LaTeX and other languages write for the comma between thousands.
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,!]|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))")
_BEFORE_FRACTION = re.compile(r"(?<=\d)(?=\\[dt]?frac)")
_LONGEST = 308  # characters of a number, and its power of ten: as far as a float goes


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def _written_plainly(text: str) -> str:
    r"""The text with other signs for minus, 1{,}000 and 2\frac{3}{4} as they are typed: -, 1,000, 2 3/4."""
    plain = _THOUSANDS.sub(",", text.translate(_SIGNS))
    return _FRACTION.sub(r"\1/\2", _BEFORE_FRACTION.sub(" ", plain))


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
    plain = re.sub(r"\s*/\s*", "/", _written_plainly(text.strip()).replace(",", ""))
    whole, _, fraction = plain.rpartition(" ")
    above, _, below = fraction.partition("/")
    units, dividend, divisor = _decimal(whole or "0"), _decimal(above), _decimal(below or "1")
    if units is None or dividend is None or not divisor:
        return None
    return units + (-1 if whole.startswith("-") else 1) * dividend / divisor


def _decimal(digits: str) -> Fraction | None:
    if len(digits) > _LONGEST:
        return None
    mantissa, _, exponent = digits.lower().partition("e")
    power = int(exponent or 0)
    return Fraction(mantissa) * Fraction(10) ** power if abs(power) <= _LONGEST else None


def _parsed(library: Any, text: str) -> list[Any]:
    """What math-verify reads in the text: as LaTeX, for which it asks for dollars around it, else as it stands."""
    latex = text if "$" in text.replace(r"\$", "") else f"${text}$"  # \$ is a currency
    return library.parse(latex, parsing_timeout=None) or library.parse(text, parsing_timeout=None)
