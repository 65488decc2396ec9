"""Exact arithmetic on the expressions of a trace: text to a linear form a + b*x, with the operands it read.

Bounded on purpose: digits per number, size of every intermediate value and depth of brackets are capped, powers do not
exist, and nothing is ever evaluated as code. It knows letters and numbers, not what a letter stands for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 18  # the largest value a generated problem reaches has 4
MAX_VALUE = 10**24
MAX_DEPTH = 12

# Identities are tested at one pseudo-random point per quantity, modulo this prime: two different formulas of the size
# a step can have agree there with a probability below 2**-50.
PRIME = (1 << 61) - 1

Rational = int | Fraction


@dataclass(frozen=True, slots=True)
class Form:
    """What an expression is worth: `constant + slope * x`, x being the unknown of the problem.

    `print` is the expression's value, modulo PRIME, where every quantity it reads has its own pseudo-random value:
    equal prints mean the same formula over the same quantities. `reads` sums one pseudo-random number per operand read,
    so equal `reads` mean the same multiset of operands.
    """

    constant: Rational
    slope: Rational
    print: int
    reads: int


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression read from the start of a text.

    `end` is the offset behind it, `letters` what it reads, in order; `shape` is its tokens with `n` for a number and
    `x` for a letter.
    """

    form: Form
    end: int
    letters: tuple[str, ...]
    shape: str

    @property
    def is_number(self) -> bool:
        """Whether it is one number, perhaps negative: a value that needs no more working."""
        return self.shape in ("n", "-n")

    @property
    def is_linear(self) -> bool:
        """Whether it is written as a value in one letter is: `x`, `2*x`, `x + 4`, `12 - x`."""
        return self.shape in _LINEAR


class Unreadable(ValueError):
    """A piece of trace that is not an expression of the grammar; the message is a clause for a verdict's reason."""


class UndefinedLetter(Unreadable):
    """An expression that reads a letter nothing has been bound to."""

    def __init__(self, letter: str) -> None:
        super().__init__(f"{letter} stands for nothing yet")
        self.letter = letter


_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]+)?)|([A-Za-z])(?![A-Za-z])|([-+*/()]))")


def number(text: str) -> Rational:
    """The value of decimal digits with an optional fraction, as an int where it is whole.

    Raises:
        Unreadable: more than MAX_DIGITS digits.
    """
    if len(text) > MAX_DIGITS:
        raise Unreadable(f"a number of more than {MAX_DIGITS} digits")
    whole, _, decimals = text.partition(".")
    if not decimals:
        return int(whole)
    return _plain(Fraction(int(whole + decimals), 10 ** len(decimals)))


def literal(value: Rational) -> Form:
    """The form of a number written down."""
    if isinstance(value, int):
        return Form(value, 0, value % PRIME, 0)
    return Form(value, 0, value.numerator * pow(value.denominator, -1, PRIME) % PRIME, 0)


def evaluate(text: str, letters: Mapping[str, Form]) -> Expression:
    """Evaluate the expression that `text` starts with; what follows it is not looked at.

    Raises:
        Unreadable: no expression there, a letter without a value, a product of unknowns, or a value beyond the caps.
    """
    reader = _Reader(text, letters)
    form = reader.sum()
    return Expression(form, reader.position, tuple(reader.read), "".join(reader.shape))


class _Reader:
    """Recursive descent over one expression; `position` is where the expression read so far ends."""

    __slots__ = ("_depth", "_kind", "_letters", "_lexeme", "_next", "_text", "position", "read", "shape")

    def __init__(self, text: str, letters: Mapping[str, Form]) -> None:
        self._text = text
        self._letters = letters
        self._depth = 0
        self.position = 0
        self.read: list[str] = []
        self.shape: list[str] = []
        self._next = 0
        self._advance()

    def _advance(self) -> None:
        self.position = self._next
        match = _TOKEN.match(self._text, self._next)
        if match is None:
            self._kind, self._lexeme = 0, ""
            return
        self._kind = match.lastindex or 0
        self._lexeme = match[self._kind]
        self._next = match.end()

    def sum(self) -> Form:
        """term (('+' | '-') term)*"""
        total = self._product()
        while self._kind == 3 and self._lexeme in "+-":
            sign = self._lexeme
            self.shape.append(sign)
            self._advance()
            total = _bounded(_add(total, self._product(), 1 if sign == "+" else -1))
        return total

    def _product(self) -> Form:
        result = self._factor()
        while self._kind == 3 and self._lexeme in "*/":
            operator = self._lexeme
            self.shape.append(operator)
            self._advance()
            right = self._factor()
            result = _bounded(_multiply(result, right) if operator == "*" else _divide(result, right))
        return result

    def _factor(self) -> Form:
        if self._kind == 1:
            self.shape.append("n")
            form = literal(number(self._lexeme))
        elif self._kind == 2:
            self.shape.append("x")
            self.read.append(self._lexeme)
            found = self._letters.get(self._lexeme)
            if found is None:
                raise UndefinedLetter(self._lexeme)
            form = found
        elif self._kind == 3 and self._lexeme in "-(":
            return self._nested(self._lexeme)
        else:
            raise Unreadable("an expression is missing or cannot be read")
        self._advance()
        return form

    def _nested(self, lexeme: str) -> Form:
        self.shape.append(lexeme)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("brackets nested too deep")
        self._advance()
        if lexeme == "-":
            form = _add(_ZERO, self._factor(), -1)
        else:
            form = self.sum()
            if self._lexeme != ")":
                raise Unreadable("a bracket is not closed")
            self._advance()
        self._depth -= 1
        return form


_LINEAR = frozenset(
    [
        "x",
        "-x",
        "n*x",
        "-n*x",
        "x+n",
        "x-n",
        "-x+n",
        "-x-n",
        "n*x+n",
        "n*x-n",
        "-n*x+n",
        "-n*x-n",
        "n+x",
        "n-x",
        "-n+x",
        "-n-x",
        "n+n*x",
        "n-n*x",
        "-n+n*x",
        "-n-n*x",
    ]
)
_ZERO = Form(0, 0, 0, 0)


def _plain(value: Rational) -> Rational:
    """An int where the rational is whole: ints are several times faster."""
    return value.numerator if value.denominator == 1 else value


def _add(left: Form, right: Form, sign: int) -> Form:
    return Form(
        _plain(left.constant + sign * right.constant),
        _plain(left.slope + sign * right.slope),
        (left.print + sign * right.print) % PRIME,
        (left.reads + right.reads) % PRIME,
    )


def _multiply(left: Form, right: Form) -> Form:
    if left.slope and right.slope:
        raise Unreadable("the product of two unknowns is not linear")
    return Form(
        _plain(left.constant * right.constant),
        _plain(left.constant * right.slope + left.slope * right.constant),
        left.print * right.print % PRIME,
        (left.reads + right.reads) % PRIME,
    )


def _divide(left: Form, right: Form) -> Form:
    if right.slope or not right.constant:
        raise Unreadable("a division by zero or by the unknown")
    if right.print == 0:  # a quantity's pseudo-random value is never 0, a difference of two equal ones is
        raise Unreadable("a division by zero or by the unknown")
    return Form(
        _plain(Fraction(left.constant) / right.constant),
        _plain(Fraction(left.slope) / right.constant),
        left.print * pow(right.print, -1, PRIME) % PRIME,
        (left.reads + right.reads) % PRIME,
    )


def _bounded(form: Form) -> Form:
    for value in (form.constant, form.slope):
        if abs(value.numerator) > MAX_VALUE or value.denominator > MAX_VALUE:
            raise Unreadable("a number grows beyond all bounds")
    return form
