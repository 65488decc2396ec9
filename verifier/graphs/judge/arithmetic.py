"""Exact arithmetic on the expressions of a trace: text to a polynomial in its letters, and that to a value a + b*x.

Bounded on purpose: length, digits per number, size of every value, terms of a product and depth of brackets are
capped, powers do not exist, and nothing is ever evaluated as code. Reading an expression depends on its text alone and
is remembered; what a letter stands for comes in only when the polynomial is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from verifier.errors import Signal

MAX_DIGITS = 18  # the largest value a generated problem reaches has 4
MAX_VALUE = 10**24
MAX_DEPTH = 12
MAX_LENGTH = 400  # characters; the longest expression of a generated trace has about 60
MAX_PRODUCTS = 16  # terms that one multiplication may make
MAX_FACTORS = 4
MAX_REMEMBERED = 64  # characters of an expression; longer ones are read anew, so that no text fills the memory
MAX_MEMORY = 1 << 16

# Identities are tested at one pseudo-random point per quantity, modulo this prime: two different formulas of the size
# a step can have agree there with a probability below 2**-50.
PRIME = (1 << 61) - 1

Rational = int | Fraction
_Monomial = tuple[str, ...]
_Polynomial = dict[_Monomial, Rational]


# What an expression is worth: (constant, slope, print, reads), its value being `constant + slope * x` with x the
# unknown of the problem. `print` is the expression's value, modulo PRIME, where every quantity it reads has its own
# pseudo-random value: equal prints mean the same formula over the same quantities. `reads` sums one pseudo-random
# number per operand read: equal reads mean the same multiset of operands. (A bare tuple: making a named one costs ten
# times as much, and the judge makes little else.)
Form = tuple[Rational, Rational, int, int]


class Term(NamedTuple):
    """One monomial of a polynomial: a coefficient, the same modulo PRIME, and letters in alphabetical order."""

    coefficient: Rational
    residue: int
    letters: _Monomial


class Expression(NamedTuple):
    """An expression as it is written, and what is left of the text behind it (stripped; "" if it is all).

    `letters` holds every letter as often as it is written, in order. `is_number` marks one number, perhaps negative: a
    value that needs no more working. `is_linear` marks what a value in one letter looks like: `x`, `2*x`, `x + 4`.
    `fixed` is the value of an expression without letters, `alone` the letter of one that is nothing but a letter.
    """

    terms: tuple[Term, ...]
    letters: tuple[str, ...]
    is_number: bool
    is_linear: bool
    fixed: Form | None
    alone: str | None
    rest: str


class Unreadable(Signal):
    """A piece of trace that is not an expression of the grammar; the message is a clause for a judgement's reason."""


class UndefinedLetter(Unreadable):
    """An expression that reads a letter nothing has been bound to."""

    def __init__(self, letter: str) -> None:
        super().__init__(f"reads {letter}, which stands for nothing")
        self.letter = letter


def read_expression(text: str) -> Expression:
    """Read the expression that `text` starts with, spaces around it aside.

    Raises:
        Unreadable: no expression there, a text, number or product too long, brackets too deep, a division by a letter.
    """
    known = _memory.get(text)
    if known is not None:
        return known
    if len(text) > MAX_LENGTH:
        raise Unreadable("an expression too long to be one")
    expression = _read(text)
    if len(text) <= MAX_REMEMBERED:
        if len(_memory) >= MAX_MEMORY:
            _memory.clear()
        _memory[text] = expression
    return expression


# A dictionary rather than functools.lru_cache: a hit costs a third, and hits are what the judge spends its time on.
_memory: dict[str, Expression] = {}


def evaluate(expression: Expression, letters: Mapping[str, Form]) -> Form:
    """The value of an expression over a table of letters.

    Raises:
        Unreadable: a letter without a value, a product of unknowns, or a value beyond the caps.
    """
    if expression.fixed is not None:
        return expression.fixed
    constant: Rational = 0
    slope: Rational = 0
    mark = 0
    reads = 0
    try:
        if expression.alone is not None:
            return letters[expression.alone]
        for letter in expression.letters:
            reads += letters[letter][3]
        for coefficient, residue, monomial in expression.terms:
            if not monomial:
                constant += coefficient
                mark += residue
                continue
            value = letters[monomial[0]] if len(monomial) == 1 else _product(letters[letter] for letter in monomial)
            constant += coefficient * value[0]
            slope += coefficient * value[1]
            mark += residue * value[2]
    except KeyError as missing:
        raise UndefinedLetter(missing.args[0]) from None
    if not _is_bounded(constant) or not _is_bounded(slope):
        raise Unreadable("a number grows beyond all bounds")
    return constant, slope, mark % PRIME, reads % PRIME


def literal(value: int) -> Form:
    """The form of a number written down."""
    return value, 0, value % PRIME, 0


def _is_bounded(value: Rational) -> bool:
    if type(value) is int:
        return -MAX_VALUE <= value <= MAX_VALUE
    return abs(value.numerator) <= MAX_VALUE and value.denominator <= MAX_VALUE


def _product(factors: Iterable[Form]) -> Form:
    constant, slope, mark = 1, 0, 1
    for its_constant, its_slope, its_mark, _ in factors:
        if slope and its_slope:
            raise Unreadable("the product of two unknowns is not linear")
        slope = constant * its_slope + slope * its_constant
        constant *= its_constant
        mark = mark * its_mark % PRIME
    return constant, slope, mark, 0


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


def _plain(value: Rational) -> Rational:
    """An int where the rational is whole: ints are several times faster."""
    return value.numerator if value.denominator == 1 else value


_LEXEME = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]+)?)|([A-Za-z])(?![A-Za-z])|([-+*/()]))")
_LINEAR = frozenset(
    f"{sign}{shape}"
    for sign in ("", "-")
    for shape in ("x", "n*x", "x+n", "x-n", "n*x+n", "n*x-n", "n+x", "n-x", "n+n*x", "n-n*x")
)


def _read(text: str) -> Expression:
    reader = _Reader(text)
    polynomial = reader.sum()
    terms = tuple(
        Term(coefficient, coefficient.numerator * pow(coefficient.denominator, -1, PRIME) % PRIME, monomial)
        for monomial, coefficient in polynomial.items()
    )
    shape = "".join(reader.shape)
    fixed = None
    if not reader.letters:
        fixed = (terms[0].coefficient, 0, terms[0].residue, 0)
    alone = reader.letters[0] if shape == "x" else None
    rest = text[reader.position :].strip()
    return Expression(terms, tuple(reader.letters), shape in ("n", "-n"), shape in _LINEAR, fixed, alone, rest)


class _Reader:
    """Recursive descent over one expression; `position` is where the expression read so far ends."""

    __slots__ = ("_depth", "_kind", "_lexeme", "_next", "_text", "letters", "position", "shape")

    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self._next = 0
        self.position = 0
        self.letters: list[str] = []
        self.shape: list[str] = []
        self._advance()

    def _advance(self) -> None:
        self.position = self._next
        match = _LEXEME.match(self._text, self._next)
        if match is None:
            self._kind, self._lexeme = 0, ""
            return
        self._kind = match.lastindex or 0
        self._lexeme = match[self._kind]
        self._next = match.end()

    def sum(self) -> _Polynomial:
        """term (('+' | '-') term)*"""
        total = self._terms()
        while self._kind == 3 and self._lexeme in "+-":
            sign = 1 if self._lexeme == "+" else -1
            self.shape.append(self._lexeme)
            self._advance()
            for monomial, coefficient in self._terms().items():
                total[monomial] = total.get(monomial, 0) + sign * coefficient
        return _checked(total)

    def _terms(self) -> _Polynomial:
        result = self._factor()
        while self._kind == 3 and self._lexeme in "*/":
            operator = self._lexeme
            self.shape.append(operator)
            self._advance()
            right = self._factor()
            result = _times(result, right if operator == "*" else _inverse(right))
        return result

    def _factor(self) -> _Polynomial:
        if self._kind == 1:
            self.shape.append("n")
            polynomial: _Polynomial = {(): number(self._lexeme)}
        elif self._kind == 2:
            self.shape.append("x")
            self.letters.append(self._lexeme)
            polynomial = {(self._lexeme,): 1}
        elif self._kind == 3 and self._lexeme in "-(":
            return self._nested(self._lexeme)
        else:
            raise Unreadable("an expression is missing or cannot be read")
        self._advance()
        return polynomial

    def _nested(self, lexeme: str) -> _Polynomial:
        self.shape.append(lexeme)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("brackets nested too deep")
        self._advance()
        if lexeme == "-":
            polynomial = {monomial: -coefficient for monomial, coefficient in self._factor().items()}
        else:
            polynomial = self.sum()
            if self._lexeme != ")":
                raise Unreadable("a bracket is not closed")
            self._advance()
        self._depth -= 1
        return polynomial


def _times(left: _Polynomial, right: _Polynomial) -> _Polynomial:
    if len(left) * len(right) > MAX_PRODUCTS:
        raise Unreadable("a product of too many terms")
    result: _Polynomial = {}
    for first, scale in left.items():
        for second, coefficient in right.items():
            monomial = tuple(sorted(first + second))
            result[monomial] = result.get(monomial, 0) + scale * coefficient
    return _checked(result)


def _inverse(divisor: _Polynomial) -> _Polynomial:
    value = divisor.get((), 0)
    if len(divisor) != 1 or value.numerator % PRIME == 0:  # a multiple of PRIME is zero to the prints
        raise Unreadable("a division by zero or by a letter")
    return {(): _plain(1 / Fraction(value))}


def _checked(polynomial: _Polynomial) -> _Polynomial:
    if any(len(monomial) > MAX_FACTORS for monomial in polynomial):
        raise Unreadable("a product of too many factors")
    if not all(map(_is_bounded, polynomial.values())):
        raise Unreadable("a number grows beyond all bounds")
    return {monomial: _plain(coefficient) for monomial, coefficient in polynomial.items()}
