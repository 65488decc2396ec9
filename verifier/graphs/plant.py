"""Exact wrong alternatives planted at a step of a right trace of an op-graph problem.

Every alternative is a text of the trace's grammar, and the judge itself has confirmed that it names the planted error
as the first one. What follows from the error is worked out by executing the rest of the trace with it: the judge's own
record of the problem (`Gold`) as it would be if the error were true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from random import Random
from typing import NamedTuple

from verifier.errors import NotARightTrace
from verifier.graphs.judge.arithmetic import Form, Unreadable
from verifier.graphs.judge.execution import Table, bound, run_assignment, run_body
from verifier.graphs.judge.gold import Gold
from verifier.graphs.judge.judge import verify
from verifier.graphs.judge.trace import Step, Trace, read_trace
from verifier.graphs.tell import UNKNOWN_LETTER, expression
from verifier.judgement import StepStatus, TraceJudgement
from verifier.recovery import Alternative, Planted, Unplanted
from verifier.seeds import derive

_NEAR = 3  # a wrong value is so near to the right one, where an answer follows
_FAR = 12  # or else so near: an equation in x has a whole solution for few values only
_TRIES = 24  # errors that are tried at a step; each executes the whole trace
_LETTER = re.compile(r"\b[A-Za-z]\b")
_OPERAND = re.compile(r"\b[A-Za-z]\b|[0-9]+")
_UNKNOWN: Form = (0, 1, 0, 0)
_NO_ERROR = (StepStatus.RIGHT, StepStatus.DUPLICATE, StepStatus.MISSING)


def plant(text: str, gold: Gold, step: int, alternative: Alternative, seed: int) -> Planted | Unplanted:
    """One alternative at the step with the index `step` of a right trace; the same seed chooses the same.

    Raises:
        NotARightTrace: the judge does not verify `text`, or it has no such step.
    """
    if not verify(text, gold).verified:
        raise NotARightTrace("the trace is not verified")
    trace = read_trace(text)
    if not 0 <= step < len(trace.steps):
        raise NotARightTrace(f"the trace has {len(trace.steps)} steps, and none with the index {step}")
    site = _Site(text, gold, trace, step)
    if site.here.name not in gold.steps:
        return site.unplanted(alternative, "the answer does not need the step")
    return _MAKERS[alternative](site, Random(derive(seed, "plant", step, alternative)))  # noqa: S311 - no secret


def verify_as_if(text: str, planted: Planted) -> TraceJudgement | None:
    """Judge a text as if the planted error were true; None for an omission, from which no number follows."""
    assert planted.payload is None or isinstance(planted.payload, Gold), "the error is planted by another family"
    return planted.payload and verify(text, planted.payload)


@dataclass(frozen=True, slots=True)
class _Site:
    """A step of a right trace."""

    text: str
    gold: Gold
    trace: Trace
    index: int

    @property
    def here(self) -> Step:
        return self.trace.steps[self.index]

    @property
    def unknown_letter(self) -> str:
        steps = (step.letter for step in self.trace.steps if step.name == self.gold.unknown)
        return next(steps, UNKNOWN_LETTER)

    def table(self, before: int) -> Table:
        """The letters as they stand before a step."""
        table = Table()
        for step in self.trace.steps[:before]:
            _bind(step, _read(step, self.gold, table), table)
        return table

    def told(self, step: Step, table: Table) -> str:
        """A step of the trace as it stands there, without what follows it."""
        used = 1 if step.name == self.gold.unknown else run_body(step, table)[3]
        return _sentence(step, [text for text, _ in step.statements[:used]])

    @property
    def right(self) -> str:
        """The step as it stands."""
        return self.told(self.here, self.table(self.index))

    def unplanted(self, alternative: Alternative, reason: str) -> Unplanted:
        """That the alternative cannot be made here."""
        return Unplanted(alternative, self.index, self.here.name, reason)

    def value(self, form: Form) -> str:
        """A value as the trace writes it. Raises Unreadable: it is not whole."""
        constant, slope = form[:2]
        if not isinstance(constant, int) or not isinstance(slope, int):
            raise Unreadable("a value that is not whole")
        return expression((slope, constant)).replace(UNKNOWN_LETTER, self.unknown_letter)

    def first(self, alternative: Alternative, status: StepStatus, errors: Iterable[_Error]) -> Planted | None:
        """The first of the errors from which a wrong answer follows, and which the judge names first."""
        start, name = self.text[: self.here.start], self.here.name
        for error in islice(errors, _TRIES):
            as_if = _as_if(self, error)
            if as_if is None or as_if.answer == self.gold.answer or not self.names(start, error.told, name, status):
                continue
            prefix = start + error.told
            return Planted(alternative, self.index, name, self.right, error.told, prefix, name, as_if.answer, as_if)
        return None

    def names(self, start: str, told: str, name: str, status: StepStatus) -> bool:
        """Whether the judge finds one error in `start + told`: the step that is told, with this name and status."""
        judgement = verify(start + told, self.gold)
        wrong = [step for step in judgement.steps if step.status not in _NO_ERROR]
        found = [(step.name, step.status, step.start, step.inherited) for step in wrong]
        open_ends = verify(self.text[: self.here.start], self.gold).faults
        return found == [(name, status, len(start), False)] and judgement.faults == open_ends


class _Error(NamedTuple):
    """A step told wrongly, the value that it says, and the quantities that it reads."""

    told: str
    form: Form
    parents: tuple[str, ...]


def _wrong_value(site: _Site, draw: Random) -> Planted | Unplanted:
    if site.here.name == site.gold.unknown:
        return site.unplanted("value", "the unknown has no value yet")
    found = site.first("value", StepStatus.WRONG_VALUE, _with_other_values(site, draw))
    return found or site.unplanted("value", "no wrong value near the right one leads to another whole answer")


def _with_other_values(site: _Site, draw: Random) -> Iterator[_Error]:
    step, parents = site.here, site.gold.steps[site.here.name].parents
    chain, _, _, used = run_body(step, site.table(site.index))
    assert chain is not None, "a right step has a value"
    *before, last = [text for text, _ in step.statements[:used]]
    for shift in _shifts(draw):
        form = (chain.read[0] + shift, *chain.read[1:])
        with suppress(Unreadable):
            told = f"{last.rpartition('=')[0]}= {site.value(form)}"
            yield _Error(_sentence(step, [*before, told]), form, parents)


def _shifts(draw: Random) -> list[int]:
    """What may be added to a value: near shifts in drawn order, then the others by size."""
    shifts = [sign * size for size in range(1, _FAR + 1) for sign in (1, -1)]
    return sorted(shifts, key=lambda shift: (max(abs(shift), _NEAR), draw.random()))


def _wrong_operand(site: _Site, draw: Random) -> Planted | Unplanted:
    if site.here.name == site.gold.unknown or not site.gold.steps[site.here.name].parents:
        return site.unplanted("operand", "the step reads no other quantity")
    found = site.first("operand", StepStatus.WRONG_OPERAND, _with_other_operands(site, draw))
    return found or site.unplanted("operand", "no other quantity before the step leads to another whole answer")


def _with_other_operands(site: _Site, draw: Random) -> Iterator[_Error]:
    parents = site.gold.steps[site.here.name].parents
    letters = {step.letter: step.name for step in site.trace.steps[: site.index]}
    pairs = [
        (read, other)
        for read, name in letters.items()
        for other, its_name in letters.items()
        if name in parents and its_name not in parents
    ]
    for read, other in sorted(pairs, key=lambda _: draw.random()):
        with suppress(Unreadable):
            yield _retold(site, read, other)


def _retold(site: _Site, read: str, other: str) -> _Error:
    """The step with one letter for another and its numbers worked out anew."""
    step, table = site.here, site.table(site.index)
    statements: list[str] = []
    for text, _ in step.statements:
        head, first = text.split("=")[:2]
        swapped = _LETTER.sub(lambda letter: other if letter[0] == read else letter[0], first).strip()
        chain = run_assignment(f"{head}= {swapped}", table)
        links = [swapped, *_in_numbers(site, swapped, table), site.value(chain.read)]
        statements.append(" = ".join([head.strip(), *links]))
        owners = table.owners_of(chain.first)
        if chain.letter == step.letter:
            return _Error(_sentence(step, statements), chain.read, tuple(sorted(owners)))
        table.bind(chain.letter, chain.read, owners, False)
    raise AssertionError("a right step has a value")


def _in_numbers(site: _Site, link: str, table: Table) -> list[str]:
    """A link with the values of its letters, in brackets as `verifier.graphs.tell` has them; none for one letter."""
    if len(link) == 1:
        return []
    shape = "({})" if site.gold.unknown is not None and ("*" in link or "-" in link) else "{}"
    values = {letter: site.value(table.forms[letter]) for letter in _LETTER.findall(link)}
    return [_OPERAND.sub(lambda operand: shape.format(values.get(operand[0], operand[0])), link)]


def _omission(site: _Site, draw: Random) -> Planted | Unplanted:
    del draw  # a step can be left out in one way only
    reader = _reader(site)
    if reader is None:
        return site.unplanted("omission", "no later step reads it")
    steps = site.trace.steps
    start = site.text[: site.here.start] + site.text[steps[site.index + 1].start : steps[reader].start]
    told = site.told(steps[reader], site.table(reader))
    name = steps[reader].name
    if not site.names(start, told, name, StepStatus.WRONG_OPERAND):
        return site.unplanted("omission", "a later step says the same")
    return Planted("omission", site.index, site.here.name, site.right, "", start + told, name, None, None)


def _reader(site: _Site) -> int | None:
    """The first later step that reads the quantity."""
    for index in range(site.index + 1, len(site.trace.steps)):
        gold = site.gold.steps.get(site.trace.steps[index].name)
        if gold is not None and site.here.name in gold.parents:
            return index
    return None


_MAKERS = {"value": _wrong_value, "operand": _wrong_operand, "omission": _omission}


def _as_if(site: _Site, error: _Error) -> Gold | None:
    """The problem as it would be if the step were right; None where no answer follows.

    Values that a trace never has, such as negative numbers of animals, do not follow either.
    """
    table, steps = Table(), dict(site.gold.steps)
    steps[site.here.name] = replace(steps[site.here.name], read=error.form, parents=error.parents)
    for index, step in enumerate(site.trace.steps):
        try:
            read = error.form if index == site.index else _read(step, site.gold, table)
        except Unreadable:
            return None
        if step.name in steps:
            steps[step.name] = replace(steps[step.name], value=bound(step.name, read))
        _bind(step, read, table)
    answer = _answer(site.gold, steps[site.gold.given or next(reversed(steps))].value)
    if answer is None or any(_negative(step.value) for step in steps.values()):
        return None
    return replace(site.gold, steps=steps, answer=answer)


def _answer(gold: Gold, value: Form) -> int | None:
    """The answer that follows from the value of the last quantity, or of the given one: whole, and not negative."""
    constant, slope = value[:2]
    if gold.given is None:
        found = constant
    elif slope:
        found = Fraction(gold.given_value - constant) / slope
    else:
        return None
    least = 0 if gold.given is None else 1
    return int(found) if found == int(found) and found >= least else None


def _negative(value: Form) -> bool:
    return value[1] == 0 and value[0] < 0


def _read(step: Step, gold: Gold, table: Table) -> Form:
    """What a step's first links are worth, whatever its numbers say."""
    if step.name == gold.unknown:
        return _UNKNOWN
    chain = run_body(step, table)[0]
    if chain is None:
        raise Unreadable("the step is left empty")
    return chain.read


def _bind(step: Step, read: Form, table: Table) -> None:
    table.bind(step.letter, bound(step.name, read), frozenset([step.name]), False)


def _sentence(step: Step, statements: list[str]) -> str:
    return f"Define {step.name} as {step.letter}; {'; '.join(statements)}."
