"""Tells a problem: graph to problem text, question and gold trace, in the reference's sentence forms and trace grammar.

Not here: sampling (`verifier.graphs.generate`) and reading (`verifier.graphs.judge.trace`,
`verifier.graphs.solver.solve`). Sentence forms and grammar were read off the reference's problems: a step is "Define
NAME as L; so L = letters = numbers = value." with helper letters for partial results; a reverse trace carries a*x + b
as sympy prints it and closes with the equation.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from itertools import chain
from random import Random

from verifier.graphs.problem import Graph, Operation, Quantity, Template
from verifier.graphs.templates import vocabulary

LETTERS = string.ascii_letters
UNKNOWN_LETTER = "x"
# Letters that the reference's parser does not read out of a word of a reverse trace's closing passage (paper.md b.3),
# then those that it does: gold traces use the second kind only when the first has run out.
SAFE_LETTERS = "ABCDEFGHIJKLMNOPQRTUVWYZbcjkz"
LEAKY_LETTERS = "Sadefghilmnopqrstuvwy"

_OPENING = "The question is difficult, so we use equations to solve it."

Linear = tuple[int, int]  # (slope, constant): slope * x + constant


def prompt_text(problem: str, question: str) -> str:
    """What the model is given: the conformance set's `sha_prompt` is of this text."""
    return f"<question> {problem.strip()} {question.strip()} </question> <solution>"


def completion_text(solution: str) -> str:
    """What the model should write after the prompt and a space, from a solution that ends in "Answer: N."."""
    body, _, answer = solution.strip().rpartition("Answer:")
    return f"{body.strip()} </solution> <answer> {answer.strip().rstrip('.')} </answer>"


def training_text(problem: str, question: str, solution: str) -> str:
    """Prompt and completion, separated by a space: the conformance set's `sha_train_text` is of this text."""
    return f"{prompt_text(problem, question)} {completion_text(solution)}"


def quantity_names(rng: Random, template: Template) -> list[list[str]]:
    """Names by role (count, average, total, grand total) and then by place * KINDS + kind, or by place.

    Draws the same from `rng` whatever the template.
    """
    words = vocabulary(template)
    places = words.place_groups[int(rng.random() * len(words.place_groups))]
    kinds = words.kind_groups[int(rng.random() * len(words.kind_groups))]
    return words.names(places, kinds)


def phrase(name: str) -> str:
    """A quantity as sentences speak of it: counts are "number of ...", totals and averages keep their name."""
    return name if name.startswith(("total number of ", "average number of ")) else f"number of {name}"


def fact(quantity: Quantity) -> str:
    """The sentence that states how a quantity comes about. An implicit total has none: KeyError."""
    subject = phrase(quantity.name)
    if quantity.operation is Operation.UNKNOWN:
        if subject.startswith("average"):
            return f"The {subject} is greater than 0."
        return f"The {subject} exists, and its number is greater than 0."
    parents = [f"the {phrase(parent)}" for parent in quantity.parents]
    return f"The {subject} equals {_RIGHT_SIDE[quantity.operation](quantity.constant, parents)}."


def question(name: str) -> str:
    """The question for a quantity: "How many K does P have?" for counts, "What is the ...?" for the others."""
    if name.startswith(("total number of ", "average number of ")):
        return f"What is the {name}?"
    kind, _, place = name.rpartition(" in ")
    return f"How many {kind} does {place} have?"


def expression(form: Linear) -> str:
    """slope * x + constant as sympy prints it: "2*x + 3", "x - 4", "6 - x", "-2*x", "7"."""
    slope, constant = form
    if slope == 0:
        return str(constant)
    term = "x" if slope in (1, -1) else f"{abs(slope)}*x"
    if slope < 0 < constant:
        return f"{constant} - {term}"
    if slope < 0:
        term = f"-{term}"
    if constant == 0:
        return term
    return f"{term} + {constant}" if constant > 0 else f"{term} - {-constant}"


class Teller:
    """Tells one graph. Draws sentence order and letters from `rng`, in that order."""

    def __init__(self, rng: Random, graph: Graph) -> None:
        # Only `random()` is the same in every release of Python, and it is faster than `shuffle` and `choice`.
        self._random = rng.random
        self._graph = graph

    def statement(self) -> tuple[str, str]:
        """The problem (facts in random order) and the question."""
        graph = self._graph
        facts = [fact(quantity) for quantity in graph.needed + graph.distractors if quantity.operation not in _IMPLICIT]
        if graph.given is not None:
            facts.append(f"The {phrase(graph.given)} equals {graph.needed[-1].value}.")
        return " ".join(self._drawn(facts)), question(graph.query)

    def solution(self) -> str:
        """The gold trace; ends in "Answer: N."."""
        return trace(self._graph, self._letters())

    def _letters(self) -> Callable[[], str]:
        """A source of letters, each drawn once; a reverse trace prefers those that cannot leak."""
        if self._graph.given is None:
            return self._drawn(list(LETTERS)).__next__
        return chain(self._drawn(list(SAFE_LETTERS)), self._drawn(list(LEAKY_LETTERS))).__next__

    def _drawn(self, items: list[str]) -> Iterator[str]:
        """The items in random order, drawn as they are asked for."""
        random = self._random
        while items:
            index = int(random() * len(items))
            item = items[index]
            items[index] = items[-1]
            items.pop()
            yield item


def trace(graph: Graph, letters: Callable[[], str]) -> str:
    """The gold trace with letters from `letters`: per step the quantity's own first, then its helpers in order."""
    writer = _Writer(graph.given is not None, letters)
    steps = [writer.step(quantity) for quantity in graph.needed]
    last = graph.needed[-1]
    if graph.given is None:
        steps.append(f"Answer: {last.value}.")
        return " ".join(steps)
    answer = next(quantity.value for quantity in graph.needed if quantity.name == graph.query)
    return " ".join([_OPENING, *steps, _closing(writer.letter[last.name], writer.form[last.name], last.value, answer)])


def _closing(letter: str, form: Linear, value: int, answer: int) -> str:
    slope, constant = form
    side, rest = expression(form), value - constant
    return (
        f"We know {letter} = {value}, so we have {side} = {value} and we solve it through the following steps: "
        f"Simplifying the equation: {side} = {value}. "
        f"Move all terms to one side: {expression((slope, -rest))} = 0. "
        f"Isolate the term with x: {slope}*x = {rest}. "
        f"Divide both sides by {slope}: x = {rest} / {slope}. "
        f"Solution: x = {answer}. Answer: {answer}."
    )


class _Writer:
    """Writes the steps of one trace; knows the letter and the linear form of every quantity written so far."""

    def __init__(self, reverse: bool, letters: Callable[[], str]) -> None:
        self._next = letters
        # In reverse, operands of differences and products stand in brackets.
        self._operand = "({})" if reverse else "{}"
        self.letter: dict[str, str] = {}
        self.form: dict[str, Linear] = {}

    def step(self, quantity: Quantity) -> str:
        name, operation = quantity.name, quantity.operation
        if operation is Operation.UNKNOWN:
            self.letter[name], self.form[name] = UNKNOWN_LETTER, (1, 0)
            return f"Define {name} as x; we don't know its value yet but will find it out later."
        letter = self.letter[name] = self._next()
        letters = [self.letter[parent] for parent in quantity.parents]
        forms = [self.form[parent] for parent in quantity.parents]
        if operation is Operation.LITERAL:
            self.form[name] = (0, quantity.value)
            return f"Define {name} as {letter}; so {letter} = {quantity.value}."
        if operation is Operation.WEIGHTED_TOTAL:
            body, form = self._weighted(letter, letters, forms)
        elif operation in _PLAIN:
            helpers, last, form = self._inner(operation, letters, forms)
            body = f"{helpers} so {letter} = {last}"
        else:
            body, form = self._mixed(quantity, letter, letters, forms)
        self.form[name] = form
        return f"Define {name} as {letter};{body}."

    def _inner(self, operation: Operation, letters: list[str], forms: list[Linear]) -> tuple[str, str, Linear]:
        """Helper statements, last right side and form of a copy, sum or difference."""
        if operation in _DIFFERENCES:
            (a, b), (c, d) = forms
            result = (a - c, b - d)
            sides = f"{self._bracket(forms[0])} - {self._bracket(forms[1])}"
            return "", f"{letters[0]} - {letters[1]} = {sides} = {expression(result)}", result
        return self._sum(letters, forms)

    def _sum(self, letters: list[str], forms: list[Linear]) -> tuple[str, str, Linear]:
        if len(letters) == 1:
            return "", f"{letters[0]} = {expression(forms[0])}", forms[0]
        helpers = ""
        letter, form = letters[0], forms[0]
        for index in range(1, len(letters) - 1):
            right, form = _addition(letter, letters[index], form, forms[index])
            letter = self._next()
            helpers += f" {letter} = {right};"
        last, form = _addition(letter, letters[-1], form, forms[-1])
        return helpers, last, form

    def _mixed(self, quantity: Quantity, letter: str, letters: list[str], forms: list[Linear]) -> tuple[str, Linear]:
        """A constant with a quantity, a sum or a difference, which first gets a helper letter."""
        constant = quantity.constant
        assert constant is not None, "only forms with a constant come here"
        helpers, last, (slope, rest) = self._inner(quantity.operation, letters, forms)
        helper = self._next()
        partial = expression((slope, rest))
        if quantity.operation in _MULTIPLIED:
            sign, form = "*", (constant * slope, constant * rest)
            sides = f"{self._operand.format(constant)} * {self._operand.format(partial)}"
        else:
            sign, form = "+", (slope, constant + rest)
            sides = f"{constant} + {partial}"
        right = f"{constant} {sign} {helper} = {sides} = {expression(form)}"
        return f"{helpers} {helper} = {last}; so {letter} = {right}", form

    def _weighted(self, letter: str, letters: list[str], forms: list[Linear]) -> tuple[str, Linear]:
        """The sum of count times average: products first, then their sum."""
        products: list[tuple[str, Linear]] = []
        for index in range(0, len(letters), 2):
            (a, b), (c, d) = forms[index], forms[index + 1]
            form = (a * d + b * c, b * d)
            sides = f"{self._bracket(forms[index])} * {self._bracket(forms[index + 1])}"
            products.append((f"{letters[index]} * {letters[index + 1]} = {sides} = {expression(form)}", form))
        if len(products) == 1:
            return f" so {letter} = {products[0][0]}", products[0][1]
        names = [self._next() for _ in products]
        body = "".join([f" {name} = {right};" for name, (right, _) in zip(names, products, strict=True)])
        helpers, last, form = self._sum(names, [form for _, form in products])
        return f"{body}{helpers} {letter} = {last}", form

    def _bracket(self, form: Linear) -> str:
        return self._operand.format(expression(form))


def _addition(left: str, right: str, form: Linear, other: Linear) -> tuple[str, Linear]:
    result = (form[0] + other[0], form[1] + other[1])
    return f"{left} + {right} = {expression(form)} + {expression(other)} = {expression(result)}", result


_IMPLICIT = frozenset({Operation.TOTAL, Operation.WEIGHTED_TOTAL})
_PLAIN = frozenset({Operation.COPY, Operation.SUM, Operation.TOTAL, Operation.DIFFERENCE})
_DIFFERENCES = frozenset({Operation.DIFFERENCE, Operation.PLUS_DIFFERENCE, Operation.TIMES_DIFFERENCE})
_MULTIPLIED = frozenset({Operation.TIMES, Operation.TIMES_SUM, Operation.TIMES_DIFFERENCE})


def _listing(parents: list[str]) -> str:
    if len(parents) == 2:
        return f"the sum of {parents[0]} and {parents[1]}"
    return f"the sum of {', '.join(parents[:-1])}, and {parents[-1]}"


def _gap(parents: list[str]) -> str:
    return f"the difference between {parents[0]} and {parents[1]}"


_RIGHT_SIDE: dict[Operation, Callable[[int | None, list[str]], str]] = {
    Operation.LITERAL: lambda constant, parents: str(constant),
    Operation.COPY: lambda constant, parents: parents[0],
    Operation.PLUS: lambda constant, parents: f"{constant} plus {parents[0]}",
    Operation.TIMES: lambda constant, parents: f"{constant} times {parents[0]}",
    Operation.SUM: lambda constant, parents: _listing(parents),
    Operation.DIFFERENCE: lambda constant, parents: _gap(parents),
    Operation.PLUS_SUM: lambda constant, parents: f"{constant} plus {_listing(parents)}",
    Operation.TIMES_SUM: lambda constant, parents: f"{constant} times {_listing(parents)}",
    Operation.PLUS_DIFFERENCE: lambda constant, parents: f"{constant} plus {_gap(parents)}",
    Operation.TIMES_DIFFERENCE: lambda constant, parents: f"{constant} times {_gap(parents)}",
}
