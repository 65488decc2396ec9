"""Tells a problem: graph to problem text, question and gold trace, in the reference's sentence forms and trace grammar.

Not here: sampling (`verifier.generate`) and reading (`verifier.trace`, `verifier.solve`). Sentence forms and grammar
were read off the conformance problems (paper appendix; repository `gsm_infinite`): a trace is "Define NAME as L; so
L = letters = numbers = value." with helper letters for partial results; reverse traces carry a + b*x as sympy prints
it and close with the equation.
"""

from __future__ import annotations

import string
from random import Random

from verifier.problem import Graph, Operation, Quantity, Template
from verifier.templates import vocabulary

LETTERS = string.ascii_letters
UNKNOWN_LETTER = "x"


def prompt_text(problem: str, question: str) -> str:
    """What the model is given: the conformance set's `sha_prompt` is of this text."""
    return f"<question> {problem.strip()} {question.strip()} </question> <solution>"


def completion_text(solution: str) -> str:
    """What the model should write after the prompt, from a solution that ends in "Answer: N."."""
    body, _, answer = solution.strip().rpartition("Answer:")
    return f"{body.strip()} </solution> <answer> {answer.strip().rstrip('.')} </answer>"


def training_text(problem: str, question: str, solution: str) -> str:
    """Prompt and completion, one blank between: the conformance set's `sha_train_text` is of this text."""
    return f"{prompt_text(problem, question)} {completion_text(solution)}"


def quantity_names(rng: Random, template: Template) -> list[list[str]]:
    """Names by role (count, average, total, grand total) and then by place * KINDS + kind or by place.

    Draws the same from `rng` whatever the template.
    """
    words = vocabulary(template)
    places = words.place_groups[int(rng.random() * len(words.place_groups))]
    kinds = words.kind_groups[int(rng.random() * len(words.kind_groups))]
    return [
        [f"{kind} in {place}" for place in places for kind in kinds],
        [f"{words.average} {kind} in {place}" for place in places for kind in kinds],
        [f"{words.total} in {place}" for place in places],
        [f"{words.grand_total} in {place}" for place in places],
    ]


def phrase(name: str) -> str:
    """A quantity as sentences speak of it: counts are "number of ...", totals and averages keep their name."""
    return name if name.startswith(("total number of ", "average number of ")) else f"number of {name}"


class Teller:
    """Tells one graph. Draws sentence order and letters from `rng`, in that order."""

    def __init__(self, rng: Random, graph: Graph) -> None:
        self._rng = rng
        self._graph = graph
        self._letter: dict[str, str] = {}
        self._free: list[str] = []

    def statement(self) -> tuple[str, str]:
        """The problem (facts in random order) and the question."""
        graph = self._graph
        facts = [fact(quantity) for quantity in graph.needed + graph.distractors if quantity.operation not in _IMPLICIT]
        self._rng.shuffle(facts)
        return " ".join(facts), question(graph.query)

    def solution(self) -> str:
        """The gold trace; ends in "Answer: N."."""
        self._free = list(LETTERS)
        self._rng.shuffle(self._free)
        value = {quantity.name: quantity.value for quantity in self._graph.needed}
        steps = [self._step(quantity, value) for quantity in self._graph.needed]
        return f"{' '.join(steps)} Answer: {self._graph.needed[-1].value}."

    def _step(self, quantity: Quantity, value: dict[str, int]) -> str:
        letter = self._free.pop()
        self._letter[quantity.name] = letter
        head = f"Define {quantity.name} as {letter};"
        letters = [self._letter[parent] for parent in quantity.parents]
        numbers = [value[parent] for parent in quantity.parents]
        operation = quantity.operation
        if operation is Operation.LITERAL:
            return f"{head} so {letter} = {quantity.value}."
        if operation in _PLAIN_SUM:
            helpers, last = self._chain(letters, numbers)
            return f"{head}{helpers} so {letter} = {last}."
        if operation is Operation.DIFFERENCE:
            return f"{head} so {letter} = {_difference(letters, numbers)}."
        return f"{head}{self._mixed(quantity, letters, numbers, letter)}."

    def _mixed(self, quantity: Quantity, letters: list[str], numbers: list[int], letter: str) -> str:
        """A constant with a sum, difference or single quantity, which first gets a helper letter."""
        if quantity.operation in (Operation.PLUS_DIFFERENCE, Operation.TIMES_DIFFERENCE):
            helpers, inner, partial = "", _difference(letters, numbers), numbers[0] - numbers[1]
        else:
            helpers, inner = self._chain(letters, numbers)
            partial = sum(numbers)
        sign = "*" if quantity.operation in _MULTIPLY else "+"
        helper, constant = self._free.pop(), quantity.constant
        last = f"{constant} {sign} {helper} = {constant} {sign} {partial} = {quantity.value}"
        return f"{helpers} {helper} = {inner}; so {letter} = {last}"

    def _chain(self, letters: list[str], numbers: list[int]) -> tuple[str, str]:
        """A sum as two-term steps: the helper statements but the last, and the last right side."""
        if len(letters) == 1:
            return "", f"{letters[0]} = {numbers[0]}"
        helpers: list[str] = []
        letter, number = letters[0], numbers[0]
        for index in range(1, len(letters) - 1):
            helper, partial = self._free.pop(), number + numbers[index]
            helpers.append(f" {helper} = {letter} + {letters[index]} = {number} + {numbers[index]} = {partial};")
            letter, number = helper, partial
        last = f"{letter} + {letters[-1]} = {number} + {numbers[-1]} = {number + numbers[-1]}"
        return "".join(helpers), last


_IMPLICIT = frozenset({Operation.TOTAL, Operation.WEIGHTED_TOTAL})
_PLAIN_SUM = frozenset({Operation.COPY, Operation.SUM, Operation.TOTAL})
_MULTIPLY = frozenset({Operation.TIMES, Operation.TIMES_SUM, Operation.TIMES_DIFFERENCE})


def _difference(letters: list[str], numbers: list[int]) -> str:
    return f"{letters[0]} - {letters[1]} = {numbers[0]} - {numbers[1]} = {numbers[0] - numbers[1]}"


def fact(quantity: Quantity) -> str:
    """The sentence that states how a quantity comes about."""
    parents = [f"the {phrase(parent)}" for parent in quantity.parents]
    return f"The {phrase(quantity.name)} equals {_RIGHT_SIDE[quantity.operation](quantity.constant, parents)}."


def question(name: str) -> str:
    """The question for a quantity: "How many K does P have?" for counts, "What is the ...?" for the others."""
    if name.startswith(("total number of ", "average number of ")):
        return f"What is the {name}?"
    kind, _, place = name.rpartition(" in ")
    return f"How many {kind} does {place} have?"


def _listing(parents: list[str]) -> str:
    if len(parents) == 2:
        return f"the sum of {parents[0]} and {parents[1]}"
    return f"the sum of {', '.join(parents[:-1])}, and {parents[-1]}"


def _gap(parents: list[str]) -> str:
    return f"the difference between {parents[0]} and {parents[1]}"


_RIGHT_SIDE = {
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
