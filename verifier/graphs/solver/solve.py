"""The independent solver: derives every needed quantity and the answer from the words of a problem alone.

It is the second opinion that proves a problem sound. It sees the problem text and the question, never the graph or the
gold solution, and shares no code with what makes or judges problems. Arithmetic is exact: every value is a + b*x over
the integers, with x the one unknown. A text that has no derivation gives a `Fault`, never an exception; time and memory
are linear in the length of the text, since every number is bounded.

Rules that the texts leave unsaid (`docs/tasks.md`): a total is the sum over all kinds that the text mentions for its
place, a total of averages the sum of count times average; what is both computed and given gives an equation; "exists"
declares the unknown, a positive whole number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from verifier.graphs.problem import Operation
from verifier.graphs.solver.reading import WEIGHTED, Defect, Expression, Fault, Mention, Reading, Statement, read

LIMIT = 10**18  # |a| and |b| of any value; a chain of "4 times" in a hostile text would double its digits without end


@dataclass(frozen=True, slots=True)
class Linear:
    """The value a + b*x of a quantity while x is unknown."""

    a: int
    b: int = 0

    def at(self, x: int) -> int:
        """The value once x is known."""
        return self.a + self.b * x

    def __str__(self) -> str:
        if not self.b:
            return str(self.a)
        term = "x" if self.b == 1 else f"{self.b}*x"
        return f"{term} {'-' if self.a < 0 else '+'} {abs(self.a)}" if self.a else term


@dataclass(frozen=True, slots=True)
class Derived:
    """One needed quantity: what it is computed from, the formula over the values of these, and the value it has.

    `parents` are names in the order of the sentence, each once. `symbolic` is the value before the unknown is known.
    `sentence` is the one behind it, None for an implicit total.
    """

    name: str
    operation: Operation
    parents: tuple[str, ...]
    formula: str
    symbolic: Linear
    value: int
    sentence: str | None


@dataclass(frozen=True, slots=True)
class Equation:
    """Two ways to the value of one quantity: computed (`left`) and as another sentence gives it (`right`)."""

    subject: str
    left: Linear
    right: Linear
    statement: Statement


@dataclass(frozen=True, slots=True)
class Derivation:
    """The outcome of solving a text: `steps` in an order in which each uses only earlier ones, and the `answer`.

    Where `fault` is set, `answer` is None and `steps` is empty. `equation` is what fixed the unknown, where there is
    one. `doubt` says why the text may not mean what it says, although it has an answer.
    """

    query: str | None
    steps: tuple[Derived, ...] = ()
    answer: int | None = None
    equation: Equation | None = None
    fault: Fault | None = None
    doubt: str | None = None

    @property
    def well_posed(self) -> bool:
        """Whether the text has exactly one answer."""
        return self.fault is None

    def values(self) -> dict[str, int]:
        """The value of each needed quantity by name."""
        return {step.name: step.value for step in self.steps}


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a quantity is computed; `expression` and `sentence` are None for an implicit total.

    The operands of a weighted total come in pairs: a count, then its average.
    """

    operation: Operation
    expression: Expression | None
    operands: tuple[str, ...]
    sentence: str | None


def solve(problem: str, question: str) -> Derivation:
    """Every needed quantity of a problem and its answer, from the texts alone; total on any text."""
    reading = read(problem, question)
    return Derivation(None, fault=reading) if isinstance(reading, Fault) else _Solver(reading).solve()


class _Solver:
    """The working state of one text: rules by name, values found so far, and the statements left over as equations."""

    def __init__(self, reading: Reading) -> None:
        self.query = reading.query.name
        self.rules = _totals(reading)
        self.spare: list[tuple[Statement, Expression]] = []
        self.declared: dict[str, str] = {}
        self.doubt: str | None = None
        self.values: dict[str, Linear | Fault] = {}
        self._add_statements(reading.statements)
        unknowns = [self.query] if self.query in self.declared else list(self.declared)
        unknowns = [name for name in unknowns if name not in self.rules]
        self.unknown = unknowns[0] if len(unknowns) == 1 else None
        if self.unknown is not None:
            self.values[self.unknown] = Linear(0, 1)

    def solve(self) -> Derivation:
        self._evaluate([self.query])
        asked = self.values[self.query]
        if isinstance(asked, Fault):
            return Derivation(self.query, fault=asked)
        equations = list(self._equations())
        order = self._order([self.query])
        needs_unknown = self.unknown in order
        found = self._unknown_from(equations, needs_unknown)
        if isinstance(found, Fault):
            return Derivation(self.query, fault=found)
        equation, x = found
        if equation is not None:
            order = self._order([self.query, *_operands(equation.statement), equation.subject])
        steps = tuple(self._step(name, x) for name in order)
        return Derivation(self.query, steps, asked.at(x), equation, None, self.doubt)

    def _add_statements(self, statements: Iterable[Statement]) -> None:
        literals: list[tuple[Statement, Expression]] = []
        for statement in statements:
            if statement.expression is None:
                self._declare(statement)
            elif statement.expression.join == "number":
                literals.append((statement, statement.expression))
            else:
                self._add_rule(statement, statement.expression)
        for statement, expression in literals:  # last, so that the number of what is computed as well is the equation
            self._add_rule(statement, expression)

    def _declare(self, statement: Statement) -> None:
        name = statement.subject.name
        if name in self.declared:  # the reference's generator overwrites other sentences in this way
            self.doubt = f'"{name}" is declared twice; a sentence that it replaced may be missing'
        self.declared[name] = statement.sentence

    def _add_rule(self, statement: Statement, expression: Expression) -> None:
        name = statement.subject.name
        if name in self.rules:
            self.spare.append((statement, expression))
        else:
            self.rules[name] = _Rule(_operation(expression), expression, _operands(statement), statement.sentence)

    def _evaluate(self, targets: Iterable[str]) -> None:
        """Fill `values` for the targets and all they rest on; with a stack of its own, for chains of any length."""
        stack = list(targets)
        opened: set[str] = set()
        while stack:
            name = stack[-1]
            rule = self.rules.get(name)
            if name in self.values:
                stack.pop()
            elif rule is None:
                self.values[name] = self._no_rule(name)
            elif name in opened:  # what it rests on is worked off by now, or leads back here
                self.values[name] = self._apply(name, rule)
            else:
                opened.add(name)
                stack.extend(operand for operand in rule.operands if operand not in opened)

    def _no_rule(self, name: str) -> Fault:
        if name in self.declared:
            return Fault(Defect.UNDETERMINED, f'"{name}" is one of several unknowns', self.declared[name])
        return Fault(Defect.UNDEFINED, f'no sentence gives "{name}"')

    def _apply(self, name: str, rule: _Rule) -> Linear | Fault:
        operands: list[Linear] = []
        for operand in rule.operands:
            value = self.values.get(operand)
            if value is None:
                return Fault(Defect.CIRCULAR, f'"{name}" is given by way of itself', rule.sentence)
            if isinstance(value, Fault):
                return value
            operands.append(value)
        value = _weigh(operands) if rule.operation is Operation.WEIGHTED_TOTAL else _compute(rule.expression, operands)
        if value is None:
            return Fault(Defect.NONLINEAR, f'"{name}" multiplies the unknown by itself', rule.sentence)
        if abs(value.a) > LIMIT or abs(value.b) > LIMIT:
            return Fault(Defect.TOO_LARGE, f'"{name}" is beyond {LIMIT:.0e}', rule.sentence)
        return value

    def _equations(self) -> Iterator[Equation]:
        """The spare statements whose two sides can both be worked out."""
        for statement, expression in self.spare:
            name, operands = statement.subject.name, _operands(statement)
            self._evaluate([name, *operands])
            left = self.values[name]
            right = self._apply(name, _Rule(_operation(expression), expression, operands, statement.sentence))
            if isinstance(left, Linear) and isinstance(right, Linear):
                yield Equation(name, left, right, statement)

    def _unknown_from(self, equations: Sequence[Equation], needed: bool) -> tuple[Equation | None, int] | Fault:
        """The equation that fixes the unknown (None where it is not needed) and its value; all others must agree."""
        chosen = next((equation for equation in equations if equation.left.b != equation.right.b), None)
        if needed and chosen is None and self.unknown is not None:
            return self._undetermined(self.unknown)
        x = _root(chosen) if chosen else Fraction(0)
        if chosen and (x <= 0 or x.denominator != 1):
            reason = f'"{self.unknown}" would be {x}, no positive whole number'
            return Fault(Defect.CONTRADICTORY, reason, chosen.statement.sentence)
        for equation in equations:
            if equation.left.at(int(x)) != equation.right.at(int(x)):
                reason = f'two sentences disagree on "{equation.subject}"'
                return Fault(Defect.CONTRADICTORY, reason, equation.statement.sentence)
        return (chosen if needed else None), int(x)

    def _undetermined(self, unknown: str) -> Fault:
        """Why nothing fixes the unknown: the first spare statement that could not be worked out says it best."""
        for statement, _ in self.spare:
            value = self.values[statement.subject.name]
            if isinstance(value, Fault):
                return value
        return Fault(Defect.UNDETERMINED, f'nothing in the text fixes "{unknown}"', self.declared[unknown])

    def _order(self, targets: Iterable[str]) -> list[str]:
        """The targets and all they rest on, each after what it uses."""
        order: list[str] = []
        seen: set[str] = set()
        stack = [(name, False) for name in reversed(list(targets))]
        while stack:
            name, ready = stack.pop()
            if ready:
                order.append(name)
            elif name not in seen:
                seen.add(name)
                stack.append((name, True))
                rule = self.rules.get(name)
                stack.extend((operand, False) for operand in reversed(rule.operands if rule else ()))
        return order

    def _step(self, name: str, x: int) -> Derived:
        symbolic, rule = self.values[name], self.rules.get(name)
        if not isinstance(symbolic, Linear):
            raise AssertionError(f"{name} is needed and has no value: {symbolic}")
        if rule is None:
            return Derived(name, Operation.UNKNOWN, (), "x", symbolic, x, self.declared[name])
        formula = _formula(rule, [str(self.values[operand]) for operand in rule.operands])
        parents = tuple(dict.fromkeys(rule.operands))
        return Derived(name, rule.operation, parents, formula, symbolic, symbolic.at(x), rule.sentence)


def _totals(reading: Reading) -> dict[str, _Rule]:
    """A rule for every total that the texts mention, where they also mention kinds for its place."""
    places, totals = _kinds(reading)
    rules: dict[str, _Rule] = {}
    for total in totals.values():
        kinds = places.get(total.place, {})
        if not kinds:
            continue
        if total.things in WEIGHTED:
            pairs = tuple(name for count, average in kinds.values() if average for name in (count, average))
            rules[total.name] = _Rule(Operation.WEIGHTED_TOTAL, None, pairs, None)
        else:
            rules[total.name] = _Rule(Operation.TOTAL, None, tuple(count for count, _ in kinds.values()), None)
    return rules


def _kinds(reading: Reading) -> tuple[dict[str, dict[str, tuple[str, str | None]]], dict[str, Mention]]:
    """place -> kind -> (name of its count, name of its average or None) in order of first mention; and the totals."""
    places: dict[str, dict[str, tuple[str, str | None]]] = {}
    totals: dict[str, Mention] = {}
    for mention in _mentions(reading):
        if mention.role == "total":
            totals[mention.name] = mention
            continue
        kinds = places.setdefault(mention.place, {})
        if mention.role == "average":
            kinds[mention.kind] = (f"{mention.kind} in {mention.place}", mention.name)
        elif mention.kind not in kinds:
            kinds[mention.kind] = (mention.name, None)
    return places, totals


def _mentions(reading: Reading) -> Iterator[Mention]:
    for statement in reading.statements:
        yield statement.subject
        if statement.expression is not None:
            yield from statement.expression.operands
    yield reading.query


def _operands(statement: Statement) -> tuple[str, ...]:
    return tuple(operand.name for operand in statement.expression.operands) if statement.expression else ()


def _operation(expression: Expression) -> Operation:
    """The name of a sentence form; of more than one factor the outermost counts."""
    if expression.join == "number":
        return Operation.LITERAL
    if not expression.factors:
        return Operation(expression.join)
    word = expression.factors[0][0]
    return Operation(word if expression.join == "copy" else f"{word} {expression.join}")


def _root(equation: Equation) -> Fraction:
    return Fraction(equation.right.a - equation.left.a, equation.left.b - equation.right.b)


def _compute(expression: Expression | None, values: Sequence[Linear]) -> Linear:
    """The value of a statement's right side, or of a total (None), over its operands' values."""
    a, b = sum(value.a for value in values), sum(value.b for value in values)
    if expression is None:
        return Linear(a, b)
    if expression.join == "number":
        return Linear(expression.number)
    if expression.join == "difference":
        a, b = values[0].a - values[1].a, values[0].b - values[1].b
    for word, number in reversed(expression.factors):
        a, b = (a + number, b) if word == "plus" else (a * number, b * number)
        if abs(a) > LIMIT or abs(b) > LIMIT:
            break  # too large already; later factors would only make it slower
    return Linear(a, b)


def _weigh(values: Sequence[Linear]) -> Linear | None:
    """The sum of count times average over pairs; None where x would be squared."""
    a = b = 0
    for count, average in zip(values[::2], values[1::2], strict=True):
        if count.b and average.b:
            return None
        a += count.a * average.a
        b += count.a * average.b + count.b * average.a
    return Linear(a, b)


def _formula(rule: _Rule, values: Sequence[str]) -> str:
    expression = rule.expression
    if rule.operation is Operation.WEIGHTED_TOTAL:
        pairs = zip(values[::2], values[1::2], strict=True)
        return " + ".join(f"{_bracket(count)} * {_bracket(average)}" for count, average in pairs)
    if expression is None:
        return " + ".join(values)
    if expression.join == "number":
        return str(expression.number)
    inner = f"{values[0]} - {_bracket(values[1])}" if expression.join == "difference" else " + ".join(values)
    signs = {"plus": "+", "times": "*"}
    heads = [f"{number} {signs[word]} " for word, number in expression.factors]
    if not heads:
        return inner
    return "(".join([*heads[:-1], heads[-1] + _bracket(inner)]) + ")" * (len(heads) - 1)


def _bracket(text: str) -> str:
    return f"({text})" if " " in text else text
