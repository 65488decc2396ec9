"""The strict judge: executes a trace in order, as a careful reader would, and says of every step whether it holds.

A letter table is kept; every link of every equality chain is evaluated exactly as a + b*x; a step must read the very
quantities that the gold step reads and combine them to the same formula. It judges against the gold trace and the
literal facts of the problem, and it never runs, imports or guesses anything. What the original scorer would have said
is `verifier.graphs.original.judge`; conventions where the form is debatable are in docs/decisions/.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from verifier.errors import Signal
from verifier.graphs.judge.arithmetic import Expression, UndefinedLetter, Unreadable, evaluate, literal, number
from verifier.graphs.judge.execution import Chain, Table, bound, is_prose, read_link, run_body, same_value, shown
from verifier.graphs.judge.gold import WE_KNOW, Gold, GoldStep, prepare
from verifier.graphs.judge.trace import Statement, Step, Trace, read_number, read_trace
from verifier.judgement import AnswerStatus, StepJudgement, StepStatus, TraceJudgement, cut

__all__ = ["Gold", "prepare", "verify"]

OPENING = "The question is difficult, so we use equations to solve it"
MAX_FAULTS = 16  # a text with more is not read further

MAX_LINE = 200  # characters of a line of the equation solving
_DIVIDE = "Divide both sides by "
_ISOLATE = "Isolate the term with "
_LABELS = frozenset(["Simplifying the equation", "Move all terms to one side"])


def verify(text: str, gold: Gold) -> TraceJudgement:
    """Judge what a model wrote after the prompt. Pure, total on any string, linear in its length."""
    return _Judge(gold, read_trace(text), len(text)).judgement()


class _Fault(Signal):
    """A statement outside every step that does not hold, in words."""


class _Judge:
    """One pass over one trace. Collects step judgements and faults; `judgement` puts them together."""

    def __init__(self, gold: Gold, trace: Trace, length: int) -> None:
        self._gold = gold
        self._trace = trace
        self._length = length
        self._table = Table()
        self._steps: list[StepJudgement] = []
        self._faults: list[str] = []
        self._right: set[str] = set()
        self._wrong: set[str] = set()
        self._equation = False
        self._solved = False

    def judgement(self) -> TraceJudgement:
        """Judge the trace, once."""
        self._loose(self._trace.preamble)
        for index, step in enumerate(self._trace.steps):
            used = self._step(index, step)
            if used < len(step.statements):
                self._loose(step.statements[used:])
        self._gaps()
        answer, status = self._answer()
        first_error = next((i for i, step in enumerate(self._steps) if not _is_harmless(step.status)), None)
        return TraceJudgement(
            right=status is AnswerStatus.RIGHT,
            verified=first_error is None and not self._faults and status is AnswerStatus.RIGHT,
            process_accuracy=len((self._right - self._wrong) & self._gold.steps.keys()) / len(self._gold.steps),
            answer=answer,
            steps=tuple(self._steps),
            first_error=first_error,
            faults=tuple(self._faults),
            needed=len(self._gold.steps),
        )

    # Steps. Each of these judges one, records it, binds its letter and returns how many of its statements it covers.

    def _step(self, index: int, step: Step) -> int:
        if not step.letter:
            self._record(step, StepStatus.INVENTED, "the step is not of the form 'Define NAME as L;'")
            return 0
        gold = self._gold.steps.get(step.name)
        if gold is None:
            return self._extra(step)
        if step.name == self._gold.unknown:
            return self._unknown(step, gold)
        return self._needed(index, step, gold)

    def _record(self, step: Step, status: StepStatus, reason: str, inherited: bool = False) -> None:
        if status is StepStatus.RIGHT and step.name in self._right:
            status, reason = StepStatus.DUPLICATE, "says again what an earlier step says"
        self._steps.append(StepJudgement(cut(step.name), status, cut(reason), step.start, step.end, inherited))
        (self._right if _is_harmless(status) else self._wrong).add(step.name)

    def _needed(self, index: int, step: Step, gold: GoldStep) -> int:
        try:
            chain, false_link, tainted, used = run_body(step, self._table)
        except Unreadable as error:
            self._table.bind(step.letter, gold.value, gold.owner, True)
            self._unread(index, step, error)
            return _sentence_end(step)
        if chain is None:
            self._table.bind(step.letter, gold.value, gold.owner, True)
            self._record(step, StepStatus.WRONG_VALUE, "the step is left empty")
            return used
        status, reason = self._compare(chain, false_link, gold)
        if status is StepStatus.RIGHT:
            self._table.bind(step.letter, gold.value, gold.owner, tainted)
        else:
            self._table.bind(step.letter, bound(step.name, chain.claimed), gold.owner, True)
        self._record(step, status, reason, tainted)
        return used

    def _unread(self, index: int, step: Step, error: Unreadable) -> None:
        if not isinstance(error, UndefinedLetter):
            self._record(step, StepStatus.WRONG_VALUE, str(error))
        elif any(later.letter == error.letter for later in self._trace.steps[index + 1 :]):
            self._record(step, StepStatus.TOO_EARLY, f"reads {error.letter}, which is defined only later")
        else:
            inherited = error.letter in self._table.tainted
            self._record(step, StepStatus.WRONG_OPERAND, str(error), inherited)

    def _compare(self, chain: Chain, false_link: str | None, gold: GoldStep) -> tuple[StepStatus, str]:
        if chain.read[2:] != gold.read[2:]:
            return self._misread(chain, false_link, gold)
        if false_link is not None:
            return StepStatus.WRONG_VALUE, false_link
        if not same_value(chain.claimed, gold.value):
            return StepStatus.WRONG_VALUE, "follows from a wrong value"
        if not chain.last.is_number and not self._is_open_form(chain.last):
            return StepStatus.WRONG_VALUE, "the value is not worked out"
        return StepStatus.RIGHT, "derived as the problem says"

    def _is_open_form(self, last: Expression) -> bool:
        return last.is_linear and self._is_unknown(last.letters[0])

    def _is_unknown(self, letter: str) -> bool:
        """Whether a letter stands for the unknown, and not for something else that was bound to it since."""
        unknown = self._gold.unknown
        return unknown is not None and self._table.forms.get(letter) == self._gold.steps[unknown].value

    def _misread(self, chain: Chain, false_link: str | None, gold: GoldStep) -> tuple[StepStatus, str]:
        """Another formula than gold's: from the right operands to another value, or from other operands."""
        reads = tuple(sorted(self._table.owners_of(chain.first)))
        if reads != gold.parents:
            return StepStatus.WRONG_OPERAND, f"reads {_listed(reads)}; it follows from {_listed(gold.parents)}"
        if false_link is not None:
            return StepStatus.WRONG_VALUE, false_link
        if not reads:
            return StepStatus.WRONG_VALUE, f"the problem says that it equals {gold.value[0]}"
        status = StepStatus.WRONG_OPERAND if same_value(chain.claimed, gold.value) else StepStatus.WRONG_VALUE
        return status, "combines its operands otherwise than the problem says"

    def _unknown(self, step: Step, gold: GoldStep) -> int:
        self._table.bind(step.letter, gold.value, gold.owner, False)
        if step.statements and is_prose(step.statements[0][0]):
            self._record(step, StepStatus.RIGHT, "the unknown, left open")
        else:
            self._record(step, StepStatus.WRONG_VALUE, "the unknown must be left open until the equation is solved")
        return len(step.statements[:1])

    def _extra(self, step: Step) -> int:
        """A step for a quantity that the answer does not need: a literal fact of the problem, or made up."""
        fact = self._gold.facts.get(step.name)
        if fact is None:
            self._table.drop(step.letter)
            self._record(step, StepStatus.INVENTED, "neither needed nor stated as a number by the problem")
            return _sentence_end(step)
        value = bound(step.name, literal(fact))
        try:
            chain, false_link, _, used = run_body(step, self._table)
        except Unreadable as error:
            chain, false_link, used = None, str(error), _sentence_end(step)
        holds = chain is not None and not false_link and chain.first.is_number and same_value(chain.claimed, value)
        self._table.bind(step.letter, value, frozenset([step.name]), not holds)
        if holds:
            self._record(step, StepStatus.DUPLICATE, "says again what the problem says; the answer does not need it")
        else:
            self._record(step, StepStatus.WRONG_VALUE, false_link or f"the problem says that it equals {fact}")
        return used

    # Outside the steps

    def _loose(self, loose: list[Statement]) -> None:
        for statement, _ in loose:
            if len(self._faults) >= MAX_FAULTS:
                return
            text = " ".join(statement.split())
            if text == OPENING or text in self._gold.sentences:
                continue
            try:
                self._closing(text)
            except (_Fault, Unreadable) as error:
                self._faults.append(f"{shown(text)}: {error}")

    def _closing(self, text: str) -> None:
        if self._gold.given is None:
            raise _Fault("says nothing that can be checked")
        if text.startswith("We know "):
            match = WE_KNOW.match(text)
            if match is None:
                raise _Fault("is not of the form 'We know L = N, so we have ...'")
            self._check_known(match[1], match[2], match[3])
            text = text[match.end() :]
        if text:
            self._check_line(text)

    def _check_known(self, letter: str, value: str, equation: str) -> None:
        gold, form = self._gold, self._table.forms.get(letter)
        # By its marks, whatever its value: a partial result made of the quantity alone has others.
        if gold.given is None or form is None or form[2:] != gold.steps[gold.given].value[2:]:
            raise _Fault(f"{letter} is not the quantity whose value the problem gives")
        if not self._is_given(read_link(value, prose=False)):
            raise _Fault(f"the problem says {gold.given_value}")
        left, right = _sides(equation)
        if not same_value(evaluate(left, self._table.forms), form) or not self._is_given(right):
            raise _Fault(f"is not the equation that {letter} = {gold.given_value} gives")
        self._equation = True

    def _is_given(self, expression: Expression) -> bool:
        return expression.is_number and expression.terms[0].coefficient == self._gold.given_value

    def _check_line(self, text: str) -> None:
        """One line of the solving; all of them are statements about the unknown, true at its value or false."""
        line = read_line(text) if len(text) <= MAX_LINE else None
        if line is None:
            raise _Fault("says nothing that can be checked")
        label, left, right, divisor = line
        if self._at_answer(left) != self._at_answer(right):
            raise _Fault("does not hold")
        if label == "Solution":
            if left.alone is None or not self._is_unknown(left.alone) or not right.is_number:
                raise _Fault("does not say what the unknown is")
            self._solved = True
        elif divisor is not None:
            if divisor[0].terms != divisor[1].terms:
                raise _Fault("divides by another number than it says")
        elif label not in _LABELS and not self._isolates(label):
            raise _Fault("says nothing that can be checked")

    def _isolates(self, label: str) -> bool:
        return label.startswith(_ISOLATE) and self._is_unknown(label.removeprefix(_ISOLATE))

    def _at_answer(self, expression: Expression) -> object:
        constant, slope, _, _ = evaluate(expression, self._table.forms)
        return constant + slope * self._gold.answer

    # The whole

    def _gaps(self) -> None:
        """What should be there and is not, and what should not be there at all."""
        for name in self._gold.steps:
            if name not in self._right and name not in self._wrong:
                self._steps.append(StepJudgement(name, StepStatus.MISSING, "never derived", self._length, self._length))
        if self._gold.given is not None and not self._equation:
            self._faults.append("the equation is never set up")
        if self._gold.given is not None and not self._solved:
            self._faults.append("the equation is never solved")
        if self._trace.cut:
            self._faults.append("the trace has too many steps; the rest was not read")
        if self._trace.stray:
            self._faults.append("there is text between the end of the solution and the answer")

    def _answer(self) -> tuple[str | None, AnswerStatus]:
        content = self._trace.answer
        if content is None or not content.strip():
            self._faults.append("there is no answer")
            return None, AnswerStatus.MISSING
        found = read_number(content)
        if found is None:
            self._faults.append(f"the answer {shown(content)} is not one number")
            return cut(content.strip()), AnswerStatus.WRONG
        if not _equals(found, self._gold.answer):
            self._faults.append(f"the answer is {self._gold.answer}")
            return cut(found), AnswerStatus.WRONG
        return found, AnswerStatus.RIGHT


def _equals(digits: str, answer: int) -> bool:
    bare = digits.lstrip("+-")
    return len(bare) <= 18 and number(bare) * (-1 if digits[0] == "-" else 1) == answer


def _is_harmless(status: StepStatus) -> bool:
    return status is StepStatus.RIGHT or status is StepStatus.DUPLICATE


def _sentence_end(step: Step) -> int:
    """How many statements a step that cannot be read covers: up to its first full stop."""
    ends = (used for used, (_, closed) in enumerate(step.statements, 1) if closed)
    return next(ends, len(step.statements))


def _sides(equation: str) -> tuple[Expression, Expression]:
    left, _, right = equation.partition("=")
    return read_link(left, prose=False), read_link(right, prose=True)


class Line(NamedTuple):
    """One line of the equation solving; `divisor` holds the number it says to divide by and the one it does."""

    label: str
    left: Expression
    right: Expression
    divisor: tuple[Expression, Expression] | None


@lru_cache(maxsize=1 << 12)
def read_line(text: str) -> Line | None:
    """Read "LABEL: e1 = e2"; None where there is no label.

    Raises:
        Unreadable: what follows the label is no equation.
    """
    label, colon, equation = text.partition(": ")
    if not colon:
        return None
    left, right = _sides(equation)
    if not label.startswith(_DIVIDE):
        return Line(label, left, right, None)
    said = read_link(label.removeprefix(_DIVIDE), prose=False)
    return Line(label, left, right, (said, read_link(equation.rpartition("/")[2], prose=True)))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"
