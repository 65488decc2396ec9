"""Arithmetic as the original scorer has it: numbers, letters with known values, + - * / // ** and brackets, as floats.

The original hands the text to the language's own evaluator; here it is computed with two stacks, in one pass, and
whatever would be an error there has no value here. Whole numbers beyond MAX_BITS have no value either: the original
would go on computing them, perhaps without end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

MAX_BITS = 4096
MAX_BRACKETS = 200  # the parser of the language refuses more

Number = int | float

_TOKEN = re.compile(r"[ \t\f]*(?:([0-9]+)|([A-Za-z])|(\*\*|//|[-+*/()])|([\n\r]))")
_UNARY = 3
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "neg": _UNARY, "pos": _UNARY, "**": 4, "(": 0}


def evaluate(text: str, letters: Mapping[str, float]) -> float | None:
    """The value of an expression, or None where the original finds none."""
    if text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= 15:
        return float(text)
    tokens = _tokens(text, letters)
    if not tokens:
        return None
    try:
        value = _Stacks().run(tokens)
        return None if value is None else float(value)
    except (ZeroDivisionError, OverflowError):
        return None


def _tokens(text: str, letters: Mapping[str, float]) -> list[str | Number] | None:
    """Numbers and operators of the text, letters replaced by their values; None for what is no arithmetic."""
    tokens: list[str | Number] = []
    position, depth = 0, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        digits, letter, operator, newline = match.groups()
        if digits:
            value = _integer(digits)
            if value is None:
                return None
            tokens.append(value)
        elif letter:
            written = _written(text, match.start(2), letters)
            if written is None:
                return None
            tokens.extend(written)
        elif newline and not depth:
            return None
        elif operator:
            depth += (operator == "(") - (operator == ")")
            tokens.append(operator)
            if not 0 <= depth <= MAX_BRACKETS:
                return None
        position = match.end()
    return tokens if depth == 0 else None


def _integer(digits: str) -> int | None:
    if len(digits) * 3 > MAX_BITS or (digits[0] == "0" and digits.strip("0")):
        return None
    return int(digits)


def _written(text: str, position: int, letters: Mapping[str, float]) -> tuple[str | Number, ...] | None:
    """A letter's value as it is written down, sign and decimal; None inside a word or where it needs an exponent."""
    before, after = text[position - 1 : position], text[position + 1 : position + 2]
    value = letters.get(text[position])
    if value is None or _in_word(before) or _in_word(after) or not str(value).strip("-").replace(".", "").isdigit():
        return None
    return ("-", -value) if str(value)[0] == "-" else (value,)


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


class _Stacks:
    """Operands and pending operators (shunting yard); `run` returns None for what is no expression."""

    def __init__(self) -> None:
        self._operands: list[Number] = []
        self._operators: list[str] = []

    def run(self, tokens: list[str | Number]) -> Number | None:
        expects_operand = True
        for symbol in tokens:
            if expects_operand:
                expects_operand = self._operand(symbol)
                if expects_operand is None:
                    return None
            elif symbol == ")":
                if not self._close():
                    return None
            elif isinstance(symbol, str) and symbol != "(":
                if not self._binary(symbol):
                    return None
                expects_operand = True
            else:
                return None
        if expects_operand or not self._reduce(1):
            return None
        return self._operands[0]

    def _operand(self, symbol: str | Number) -> bool | None:
        """Take a symbol where an operand may start; whether one is still expected, or None for an error."""
        if not isinstance(symbol, str):
            self._operands.append(symbol)
            return False
        if symbol == "(":
            self._operators.append("(")
        elif symbol in "+-":
            self._operators.append("neg" if symbol == "-" else "pos")
        else:
            return None
        return True

    def _binary(self, symbol: str) -> bool:
        # ** groups to the right and leaves a sign on its left pending
        done = self._reduce(_PRECEDENCE[symbol] + (symbol == "**"))
        self._operators.append(symbol)
        return done

    def _close(self) -> bool:
        if not self._reduce(1):
            return False
        self._operators.pop()
        return True

    def _reduce(self, precedence: int) -> bool:
        """Apply pending operators of at least this precedence; False where a result is out of bounds."""
        while self._operators and _PRECEDENCE[self._operators[-1]] >= precedence:
            operator = self._operators.pop()
            right = self._operands.pop()
            if operator in ("neg", "pos"):
                self._operands.append(-right if operator == "neg" else right)
                continue
            value = _apply(operator, self._operands.pop(), right)
            if value is None:
                return False
            self._operands.append(value)
        return True


_OPERATIONS: dict[str, Callable[[Number, Number], Number]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: left // right,
}


def _apply(operator: str, left: Number, right: Number) -> Number | None:
    value = _power(left, right) if operator == "**" else _OPERATIONS[operator](left, right)
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return None
    return value


def _power(left: Number, right: Number) -> Number | None:
    """left ** right; None for results out of bounds and for complex ones, which are no number to the original."""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > MAX_BITS:
        return left ** (right % 2 + 2) if left in (-1, 0, 1) else None
    value = left**right
    return None if isinstance(value, complex) else value
