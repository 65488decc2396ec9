"""The strict judge: executes a trace in order, as a careful reader would, and says of every step whether it holds.

A letter table is kept; every link of every equality chain is evaluated exactly as a + b*x; a step must read the very
quantities that the gold step reads and combine them to the same formula. It judges against the gold trace and the
literal facts of the problem, and it never runs, imports or guesses anything. What the original scorer would have said
is `verifier.reference`; conventions where the form is debatable are in docs/decisions/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from verifier.arithmetic import (
    PRIME,
    Expression,
    Form,
    Rational,
    UndefinedLetter,
    Unreadable,
    evaluate,
    literal,
    number,
)
from verifier.errors import MalformedProblem
from verifier.trace import Statement, Step, Trace, read_number, read_trace, statements
from verifier.verdict import AnswerStatus, StepStatus, StepVerdict, Verdict

OPENING = "The question is difficult, so we use equations to solve it"

_ASSIGNMENT = re.compile(r"(?:so\s+)?([A-Za-z])\s*=")
_PROSE = re.compile(r"[\s,]+[A-Za-z]{2,}[A-Za-z\s,'-]*")
_WE_KNOW = re.compile(
    r"We know ([A-Za-z]) = ([^,=]*), so we have ([^:]*) and we solve it through the following steps: ?"
)
_FACT = re.compile(r"The (.*) equals (-?[0-9]+)")
# An English clause may follow a value; these words would do arithmetic or deny what is written.
_LOADED = frozenset(
    [
        "plus",
        "minus",
        "times",
        "divided",
        "over",
        "half",
        "double",
        "twice",
        "squared",
        "more",
        "less",
        "fewer",
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "hundred",
        "thousand",
        "not",
        "never",
        "no",
        "false",
        "wrong",
        "define",
        "solution",
        "know",
    ]
)


@dataclass(frozen=True, slots=True)
class GoldStep:
    """What the gold trace derives one quantity from: operands and formula as pseudo-random numbers, value as a form."""

    name: str
    parents: tuple[str, ...]
    value: Form
    print: int
    reads: int


@dataclass(frozen=True, slots=True)
class Gold:
    """One problem, prepared for judging: its steps by name in gold order, literal facts, and the closing equation.

    `unknown` and `given` are None in forward mode; `given_value` is what the problem says the given quantity equals.
    """

    steps: dict[str, GoldStep]
    facts: dict[str, int]
    sentences: frozenset[str]
    answer: int
    unknown: str | None
    given: str | None
    given_value: Rational


def prepare(problem: str, question: str, solution: str) -> Gold:
    """Read a problem's texts once, for judging any number of traces against them.

    Raises:
        MalformedProblem: the solution is not a trace of the grammar, or does not hold by itself.
    """
    body, _, answer = solution.rpartition("Answer:")
    found = read_number(answer)
    if found is None or not body:
        raise MalformedProblem("the solution must end in 'Answer: N.'")
    trace = read_trace(body)
    facts = _facts(problem)
    blank = Gold({}, facts, _sentences(problem), int(found), None, None, 0)
    return _GoldReader(blank, trace).gold()


def verify(text: str, gold: Gold) -> Verdict:
    """Judge what a model wrote after the prompt. Pure, total on any string, linear in its length."""
    return _Judge(gold, read_trace(text), len(text)).verdict()


def _sentences(problem: str) -> frozenset[str]:
    return frozenset(" ".join(statement.text.split()) for statement in statements(problem, 0, len(problem)))


def _facts(problem: str) -> dict[str, int]:
    """Quantity name to value, for every sentence of the problem that gives a number."""
    facts: dict[str, int] = {}
    for sentence in _sentences(problem):
        match = _FACT.fullmatch(sentence)
        if match:
            facts[match[1].removeprefix("number of ")] = int(match[2])
    return facts


def _mark(name: str, salt: bytes) -> int:
    return (
        int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, salt=salt).digest()) % PRIME or 1
    )


def _bound(name: str, value: Form) -> Form:
    """The form a letter has once it stands for the quantity `name`."""
    return Form(value.constant, value.slope, _mark(name, b"print"), _mark(name, b"reads"))


@dataclass(frozen=True, slots=True)
class _Chain:
    """One evaluated assignment: letter, first link (what is read), last link (what is claimed), and a false link."""

    letter: str
    first: Expression
    last: Expression
    false_link: str | None


class _Fault(ValueError):
    """A statement outside every step that does not hold, in words."""


def _same(left: Form, right: Form) -> bool:
    return left.constant == right.constant and left.slope == right.slope


def _whole(text: str, letters: Mapping[str, Form], prose: bool) -> Expression:
    """Evaluate an expression that must be the whole text, but for an English clause where `prose` allows one."""
    expression = evaluate(text, letters)
    rest = text[expression.end :]
    if not rest.strip():
        return expression
    clause = _PROSE.fullmatch(rest) if prose else None
    if clause is None or not _LOADED.isdisjoint(rest.lower().replace(",", " ").split()):
        raise Unreadable(f"{_shown(rest)} cannot be read")
    return expression


def _shown(text: str) -> str:
    """A piece of text quoted for a reason: short, and printable whatever it holds."""
    short = " ".join(text[:60].split())
    return ascii(short if len(short) <= 40 else short[:37] + "...")


def _chain(letter: str, text: str, letters: Mapping[str, Form]) -> _Chain:
    """Evaluate "e1 = e2 = ... = en"; all links must have the same value."""
    parts = text.split("=")
    first = _whole(parts[0], letters, prose=len(parts) == 1)
    last = first
    false_link = None
    for index, part in enumerate(parts[1:], 2):
        last = _whole(part, letters, prose=index == len(parts))
        if false_link is None and not _same(first.form, last.form):
            false_link = f"{_shown(parts[index - 2].strip())} is not {_shown(part.strip())}"
    return _Chain(letter, first, last, false_link)


class _Table:
    """The letters of a trace as it is executed: their forms, whose they are, and which stem from a wrong step."""

    __slots__ = ("forms", "owners", "tainted")

    def __init__(self) -> None:
        self.forms: dict[str, Form] = {}
        self.owners: dict[str, frozenset[str]] = {}
        self.tainted: set[str] = set()

    def bind(self, letter: str, form: Form, owners: frozenset[str], tainted: bool) -> None:
        self.forms[letter] = form
        self.owners[letter] = owners
        (self.tainted.add if tainted else self.tainted.discard)(letter)

    def drop(self, letter: str) -> None:
        self.forms.pop(letter, None)
        self.owners.pop(letter, None)
        self.tainted.add(letter)

    def read_by(self, expression: Expression) -> frozenset[str]:
        return frozenset[str]().union(*(self.owners[letter] for letter in expression.letters))

    def taints(self, expression: Expression) -> bool:
        return not self.tainted.isdisjoint(expression.letters)


def _run_body(step: Step, table: _Table) -> tuple[_Chain | None, str | None, bool, int]:
    """Execute a step's statements up to and with the one that gives its own letter a value.

    Returns:
        That chain (None if there is none), the first false link of any, whether a wrong result was read, and how many
        statements were used.

    Raises:
        Unreadable: a statement before it is no assignment, or cannot be evaluated.
    """
    false_link: str | None = None
    tainted = False
    for used, statement in enumerate(step.statements, 1):
        match = _ASSIGNMENT.match(statement.text)
        if match is None:
            raise Unreadable(f"{_shown(statement.text)} cannot be read")
        chain = _chain(match[1], statement.text[match.end() :], table.forms)
        false_link = false_link or chain.false_link
        tainted = tainted or table.taints(chain.first)
        if match[1] == step.letter:
            return chain, false_link, tainted, used
        if statement.closed:
            raise Unreadable(f"the step ends before {step.letter} has a value")
        table.bind(match[1], chain.first.form, table.read_by(chain.first), tainted)
    return None, false_link, tainted, len(step.statements)


class _GoldReader:
    """Executes the gold trace by itself, without anything to compare it with."""

    def __init__(self, blank: Gold, trace: Trace) -> None:
        self._blank = blank
        self._trace = trace
        self._table = _Table()
        self._steps: dict[str, GoldStep] = {}
        self._unknown: str | None = None
        self._given: str | None = None
        self._given_value: Rational = 0

    def gold(self) -> Gold:
        rest: tuple[Statement, ...] = ()
        for step in self._trace.steps:
            try:
                rest = self._step(step)
            except Unreadable as error:
                raise MalformedProblem(f"the gold step of {step.name!r} does not hold: {error}") from error
        blank = self._blank
        if self._unknown is not None:
            self._closing(rest)
        elif not self._steps:
            raise MalformedProblem("the solution has no step")
        return Gold(
            self._steps, blank.facts, blank.sentences, blank.answer, self._unknown, self._given, self._given_value
        )

    def _step(self, step: Step) -> tuple[Statement, ...]:
        if step.letter is None:
            raise Unreadable("it is not of the form 'Define NAME as L;'")
        if step.statements and "=" not in step.statements[0].text:
            self._unknown = step.name
            form, parents, used = Form(0, 1, 0, 0), frozenset[str](), 1
        else:
            chain, false_link, _, used = _run_body(step, self._table)
            if chain is None or false_link is not None:
                raise Unreadable(false_link or "it is left empty")
            form, parents = chain.first.form, self._table.read_by(chain.first)
        value = _bound(step.name, form)
        self._steps[step.name] = GoldStep(step.name, tuple(sorted(parents)), value, form.print, form.reads)
        self._table.bind(step.letter, value, frozenset([step.name]), False)
        return step.statements[used:]

    def _closing(self, rest: tuple[Statement, ...]) -> None:
        match = _WE_KNOW.match(" ".join(rest[0].text.split())) if rest else None
        if match is None or match[1] not in self._table.owners:
            raise MalformedProblem("a reverse solution must close with 'We know L = N, so we have ...'")
        (self._given,) = self._table.owners[match[1]]
        self._given_value = number(match[2])


class _Judge:
    """One pass over one trace. Collects step verdicts and faults; `verdict` puts them together."""

    def __init__(self, gold: Gold, trace: Trace, length: int) -> None:
        self._gold = gold
        self._trace = trace
        self._length = length
        self._table = _Table()
        self._steps: list[StepVerdict] = []
        self._faults: list[str] = []
        self._wrong: set[str] = set()
        self._derived: set[str] = set()
        self._later: dict[str, int] = {step.letter: i for i, step in enumerate(trace.steps) if step.letter}
        self._unknown_letter: str | None = None
        self._equation = False
        self._solved = False

    def verdict(self) -> Verdict:
        self._loose(self._trace.preamble)
        for index, step in enumerate(self._trace.steps):
            self._step(index, step)
        if self._trace.cut:
            self._faults.append("the trace has too many steps; the rest was not read")
        if self._trace.stray:
            self._faults.append("text between the end of the solution and the answer")
        self._missing()
        answer, status = self._answer()
        right = len(self._derived - self._wrong)
        first_error = next((i for i, step in enumerate(self._steps) if step.status not in _HARMLESS), None)
        return Verdict(
            verified=first_error is None and not self._faults and status is AnswerStatus.RIGHT,
            process_accuracy=right / len(self._gold.steps),
            answer=answer,
            answer_status=status,
            steps=tuple(self._steps),
            first_error=first_error,
            faults=tuple(self._faults),
            quantities=len(self._gold.steps),
        )

    # Steps

    def _step(self, index: int, step: Step) -> None:
        if step.letter is None:
            self._record(step, StepStatus.INVENTED, "the step is not of the form 'Define NAME as L;'")
            return
        gold = self._gold.steps.get(step.name)
        if gold is None:
            used = self._extra(index, step, step.letter)
        elif step.name == self._gold.unknown:
            used = self._unknown(step, step.letter, gold)
        else:
            used = self._needed(index, step, step.letter, gold)
        self._loose(step.statements[used:])

    def _record(self, step: Step, status: StepStatus, reason: str, inherited: bool = False) -> None:
        self._steps.append(StepVerdict(step.name, status, reason, step.start, step.end, inherited))
        if status in _HARMLESS:
            self._derived.add(step.name)
        else:
            self._wrong.add(step.name)

    def _unknown(self, step: Step, letter: str, gold: GoldStep) -> int:
        self._table.bind(letter, gold.value, frozenset([step.name]), False)
        self._unknown_letter = letter
        first = step.statements[0].text if step.statements else ""
        if "=" in first or not _PROSE.fullmatch(" " + first):
            self._record(step, StepStatus.WRONG_VALUE, "the unknown must be left open until the equation is solved")
            return len(step.statements[:1])
        self._right(step, "the unknown, left open")
        return 1

    def _right(self, step: Step, reason: str) -> None:
        if step.name in self._derived:
            self._record(step, StepStatus.DUPLICATE, "says again what an earlier step says")
        else:
            self._record(step, StepStatus.RIGHT, reason)

    def _needed(self, index: int, step: Step, letter: str, gold: GoldStep) -> int:
        owner = frozenset([step.name])
        try:
            chain, false_link, tainted, used = _run_body(step, self._table)
        except UndefinedLetter as error:
            self._table.bind(letter, gold.value, owner, True)
            self._record(step, *self._undefined(index, error.letter), inherited=error.letter in self._table.tainted)
            return self._body_end(step)
        except Unreadable as error:
            self._table.bind(letter, gold.value, owner, True)
            self._record(step, StepStatus.WRONG_VALUE, str(error))
            return self._body_end(step)
        if chain is None:
            self._table.bind(letter, gold.value, owner, True)
            self._record(step, StepStatus.WRONG_VALUE, "the step is left empty")
            return used
        status, reason = self._compare(chain, false_link, gold)
        claimed = _bound(step.name, chain.last.form)
        self._table.bind(letter, claimed, owner, tainted or status is not StepStatus.RIGHT)
        if status is StepStatus.RIGHT:
            self._right(step, reason)
        else:
            self._record(step, status, reason, tainted)
        return used

    def _undefined(self, index: int, letter: str) -> tuple[StepStatus, str]:
        later = self._later.get(letter, -1)
        if later > index:
            return StepStatus.TOO_EARLY, f"reads {letter}, which is defined only later"
        return StepStatus.WRONG_OPERAND, f"reads {letter}, which stands for nothing"

    def _body_end(self, step: Step) -> int:
        """How many statements a step that cannot be read covers: up to its first full stop."""
        closed = (i for i, statement in enumerate(step.statements, 1) if statement.closed)
        return next(closed, len(step.statements))

    def _compare(self, chain: _Chain, false_link: str | None, gold: GoldStep) -> tuple[StepStatus, str]:
        read = chain.first.form
        if (read.print, read.reads) != (gold.print, gold.reads):
            return StepStatus.WRONG_OPERAND, self._operand_reason(chain, gold)
        if false_link is not None:
            return StepStatus.WRONG_VALUE, false_link
        if not _same(chain.last.form, gold.value):
            return StepStatus.WRONG_VALUE, "follows from a wrong value"
        if not (chain.last.is_number or self._is_open_form(chain.last)):
            return StepStatus.WRONG_VALUE, "the value is not worked out"
        return StepStatus.RIGHT, "derived as the problem says"

    def _is_open_form(self, last: Expression) -> bool:
        return last.is_linear and last.letters == (self._unknown_letter,)

    def _operand_reason(self, chain: _Chain, gold: GoldStep) -> str:
        reads = sorted(self._table.read_by(chain.first))
        if tuple(reads) == gold.parents:
            return "combines its operands otherwise than the problem says"
        return f"reads {_listed(reads)}; it follows from {_listed(gold.parents)}"

    def _extra(self, index: int, step: Step, letter: str) -> int:
        fact = self._gold.facts.get(step.name)
        owner = frozenset([step.name])
        if fact is None:
            self._table.drop(letter)
            self._record(step, StepStatus.INVENTED, "the problem does not state such a quantity")
            return self._body_end(step)
        value = _bound(step.name, literal(fact))
        try:
            chain, false_link, _, used = _run_body(step, self._table)
        except Unreadable as error:
            chain, false_link, used = None, str(error), self._body_end(step)
        holds = chain is not None and false_link is None and not chain.first.letters and _same(chain.last.form, value)
        self._table.bind(letter, value, owner, not holds)
        if holds:
            self._record(step, StepStatus.DUPLICATE, "says again what the problem says; the answer does not need it")
        else:
            self._record(step, StepStatus.WRONG_VALUE, false_link or f"the problem says that it equals {fact}")
        return used

    # Outside the steps

    def _loose(self, loose: tuple[Statement, ...]) -> None:
        for statement in loose:
            text = " ".join(statement.text.split())
            if text == OPENING or text in self._gold.sentences:
                continue
            try:
                self._closing(text)
            except (_Fault, Unreadable) as error:
                self._faults.append(f"{_shown(text)}: {error}")

    def _closing(self, text: str) -> None:
        if self._gold.given is None:
            raise _Fault("says nothing that can be checked")
        if text.startswith("We know "):
            match = _WE_KNOW.match(text)
            if match is None:
                raise _Fault("is not of the form 'We know L = N, so we have ...'")
            self._check_known(match[1], match[2], match[3])
            text = text[match.end() :]
            if not text:
                return
        label, colon, equation = text.partition(": ")
        if not colon:
            raise _Fault("says nothing that can be checked")
        self._check_line(label, equation)

    def _check_known(self, letter: str, value: str, equation: str) -> None:
        if self._table.owners.get(letter) != frozenset([self._gold.given]):
            raise _Fault(f"{letter} is not the quantity whose value the problem gives")
        stated = _whole(value, self._table.forms, prose=False)
        if not stated.is_number or stated.form.constant != self._gold.given_value:
            raise _Fault(f"the problem says {self._gold.given_value}")
        left, right = self._sides(equation)
        if not _same(left.form, self._table.forms[letter]) or not right.is_number or not _same(right.form, stated.form):
            raise _Fault(f"is not the equation that {letter} = {self._gold.given_value} gives")
        self._equation = True

    def _sides(self, equation: str) -> tuple[Expression, Expression]:
        left, _, right = equation.partition("=")
        return _whole(left, self._table.forms, prose=False), _whole(right, self._table.forms, prose=True)

    def _check_line(self, label: str, equation: str) -> None:
        left, right = self._sides(equation)
        x = self._gold.answer
        if left.form.constant + left.form.slope * x != right.form.constant + right.form.slope * x:
            raise _Fault("does not hold")
        if label == "Solution":
            if left.letters != (self._unknown_letter,) or left.shape != "x" or not right.is_number:
                raise _Fault("does not say what the unknown is")
            self._solved = True
        elif label.startswith("Divide both sides by "):
            by = _whole(label.removeprefix("Divide both sides by "), self._table.forms, prose=False)
            divisor = equation.rpartition("/")[2]
            if not by.is_number or not _same(by.form, _whole(divisor, self._table.forms, prose=True).form):
                raise _Fault("divides by another number than it says")
        elif label not in _LABELS and label != f"Isolate the term with {self._unknown_letter}":
            raise _Fault("says nothing that can be checked")

    # The whole

    def _missing(self) -> None:
        seen = self._derived | self._wrong
        for name in self._gold.steps:
            if name not in seen:
                self._steps.append(StepVerdict(name, StepStatus.MISSING, "never derived", self._length, self._length))
        if self._gold.given is not None and not self._equation:
            self._faults.append("the equation is never set up")
        if self._gold.given is not None and not self._solved:
            self._faults.append("the equation is never solved")

    def _answer(self) -> tuple[str | None, AnswerStatus]:
        content = self._trace.answer
        if content is None or not content.strip():
            self._faults.append("there is no answer")
            return None, AnswerStatus.MISSING
        found = read_number(content)
        if found is None:
            self._faults.append(f"the answer {_shown(content)} is not one number")
            return content.strip(), AnswerStatus.WRONG
        digits = found.lstrip("+-")
        right = len(digits) <= 18 and number(digits) * (-1 if found[0] == "-" else 1) == self._gold.answer
        if not right:
            self._faults.append(f"the answer is {self._gold.answer}")
        return found, AnswerStatus.RIGHT if right else AnswerStatus.WRONG


_HARMLESS = frozenset([StepStatus.RIGHT, StepStatus.DUPLICATE])
_LABELS = frozenset(["Simplifying the equation", "Move all terms to one side"])


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names) or "nothing"
