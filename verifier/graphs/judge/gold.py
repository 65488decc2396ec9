"""One problem, prepared for judging any number of traces: what each gold step reads, its value, and the facts.

Made from the three texts alone, so that it serves problems from anywhere. It does not ask whether the gold trace
follows from the problem; `verifier.graphs.solver.solve` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from verifier.errors import MalformedProblem
from verifier.graphs.judge.arithmetic import Form, Unreadable
from verifier.graphs.judge.execution import Table, bound, run_body
from verifier.graphs.judge.trace import Statement, Step, Trace, read_number, read_trace, statements

WE_KNOW = re.compile(
    r"We know ([A-Za-z]) = ([^,=]*), so we have ([^:]*) and we solve it through the following steps: ?"
)
_FACT = re.compile(r"The (.*) equals (-?[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class GoldStep:
    """What the gold trace derives one quantity from.

    `read` holds the formula (`print`) and the operands (`reads`), `value` the value under the quantity's own marks.
    """

    name: str
    parents: tuple[str, ...]
    read: Form
    value: Form
    owner: frozenset[str]


@dataclass(frozen=True, slots=True)
class Gold:
    """Gold steps by name in gold order, the literal facts, and the closing equation.

    `unknown` and `given` are None in forward mode; `given_value` is what the problem says the given quantity equals.
    """

    steps: dict[str, GoldStep]
    facts: dict[str, int]
    sentences: frozenset[str]
    answer: int
    unknown: str | None
    given: str | None
    given_value: int


def prepare(problem: str, question: str, solution: str) -> Gold:
    """Read a problem's texts once, for judging any number of traces against them.

    Raises:
        MalformedProblem: the solution is not a trace of the grammar, or does not hold by itself.
    """
    body, _, answer = solution.rpartition("Answer:")
    found = read_number(answer)
    if not body or found is None or not found.lstrip("+-").isdecimal() or len(found) > 18:
        raise MalformedProblem("the solution must end in 'Answer: N.' with a whole number N")
    sentences = frozenset(" ".join(text.split()) for text, _ in statements(problem))
    reader = _GoldReader()
    given, given_value = reader.run(read_trace(body))
    return Gold(reader.steps, _facts(sentences), sentences, int(found), reader.unknown, given, given_value)


def _facts(sentences: frozenset[str]) -> dict[str, int]:
    """Quantity name to value, for every sentence of the problem that gives a number."""
    matches = (_FACT.fullmatch(sentence) for sentence in sentences)
    return {match[1].removeprefix("number of "): int(match[2]) for match in matches if match}


class _GoldReader:
    """Executes the gold trace by itself, without anything to compare it with."""

    def __init__(self) -> None:
        self.steps: dict[str, GoldStep] = {}
        self.unknown: str | None = None
        self._table = Table()

    def run(self, trace: Trace) -> tuple[str | None, int]:
        """Execute all steps; returns the quantity the problem gives away and its value (None, 0 in forward mode)."""
        rest: list[Statement] = []
        for step in trace.steps:
            try:
                rest = self._step(step)
            except Unreadable as error:
                raise MalformedProblem(f"the gold step of {step.name!r} does not hold: {error}") from error
        if not self.steps:
            raise MalformedProblem("the solution has no step")
        return (None, 0) if self.unknown is None else self._closing(rest)

    def _step(self, step: Step) -> list[Statement]:
        """Execute one step; returns the statements behind it."""
        if not step.letter:
            raise Unreadable("it is not of the form 'Define NAME as L;'")
        if step.statements and "=" not in step.statements[0][0]:
            self.unknown = step.name
            self._add(step, (0, 1, 0, 0), frozenset())
            return step.statements[1:]
        chain, false_link, _, used = run_body(step, self._table)
        if chain is None or false_link is not None:
            raise Unreadable(false_link or "it is left empty")
        self._add(step, chain.read, self._table.owners_of(chain.first))
        return step.statements[used:]

    def _add(self, step: Step, read: Form, parents: frozenset[str]) -> None:
        value, owner = bound(step.name, read), frozenset([step.name])
        self.steps[step.name] = GoldStep(step.name, tuple(sorted(parents)), read, value, owner)
        self._table.bind(step.letter, value, owner, False)

    def _closing(self, rest: list[Statement]) -> tuple[str, int]:
        match = WE_KNOW.match(" ".join(rest[0][0].split())) if rest else None
        owner = self._table.owners.get(match[1]) if match else None
        value = read_number(match[2]) if match else None
        if owner is None or value is None or len(owner) != 1 or not value.isdecimal() or len(value) > 18:
            raise MalformedProblem("a reverse solution must close with 'We know L = N, so we have ...'")
        return next(iter(owner)), int(value)
