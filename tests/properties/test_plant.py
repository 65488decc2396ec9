"""Planted errors on problems of our own: the judge names each one first, and what follows from it can be told."""

import ast
import operator
import re
from dataclasses import dataclass, replace

from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from tests.unit.verifier.graphs.spoiled import answered, body_of, gold_of, made, pieces
from verifier.graphs.judge.judge import verify
from verifier.graphs.plant import plant, verify_as_if
from verifier.graphs.problem import MODES, TEMPLATES
from verifier.graphs.tell import expression, trace
from verifier.judgement import StepStatus
from verifier.recovery import ALTERNATIVES, Outcome, Planted, outcome

problems = st.builds(
    made,
    op=st.integers(4, 12),
    mode=st.sampled_from(MODES),
    template=st.sampled_from(TEMPLATES),
    seed=st.integers(0, 5),
    depth=st.sampled_from([2, 3]),
)
seeds = st.integers(0, 2**32)
BINDS = r"(?:; |so )([A-Za-z]) = "
STATUS = {
    "value": StepStatus.WRONG_VALUE,
    "operand": StepStatus.WRONG_OPERAND,
    "omission": StepStatus.WRONG_OPERAND,
}


OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


@dataclass(frozen=True)
class Worth:
    """slope * x + constant, for working out by other means than the judge's what follows from an error."""

    constant: int
    slope: int = 0

    def __add__(self, other):
        return Worth(self.constant + other.constant, self.slope + other.slope)

    def __sub__(self, other):
        return Worth(self.constant - other.constant, self.slope - other.slope)

    def __mul__(self, other):
        assert not (self.slope and other.slope)
        slope = self.constant * other.slope + self.slope * other.constant
        return Worth(self.constant * other.constant, slope)

    def __str__(self):
        return expression((self.slope, self.constant))


def planted_in(problem, data):
    """An alternative at some step of the gold trace, where it can be made."""
    gold = gold_of(problem)
    step = data.draw(st.integers(0, len(gold.steps) - 1))
    text = answered(body_of(problem), problem.answer)
    found = plant(text, gold, step, data.draw(st.sampled_from(ALTERNATIVES)), data.draw(seeds))
    if not isinstance(found, Planted):
        reject()
    return found


def rest_of(problem, planted):
    """The steps after the planted error as the gold trace has them, and its closing passage."""
    last = (
        planted.step if planted.alternative != "omission" else list(gold_of(problem).steps).index(planted.first_error)
    )
    body, known, closing = body_of(problem).partition(" We know ")
    return [step.strip() for step in pieces(body)[1][last + 1 :]], f"{known}{closing}".strip()


def ended(problem, planted, text, cut_off=False):
    return outcome(
        planted, verify(text, gold_of(problem)), verify_as_if(text, planted), len(planted.prefix) - 1, cut_off
    )


def gone_on(problem, planted):
    """The rest of the trace with every number worked out anew from what the prefix says, and its answer."""
    steps, closing = rest_of(problem, planted)
    worth = {"x": Worth(0, 1)}
    for letter, links in re.findall(rf"{BINDS}([^;.]*)", planted.prefix):
        worth[letter] = _worth(links.rpartition("=")[2], worth)
    told = [planted.prefix]
    for step in steps:
        for letter, first in re.findall(rf"{BINDS}([^=;.]*)", step):
            worth[letter] = _worth(first, worth)
        told.append(re.sub(rf"{BINDS}([^=;.]*)[^;.]*", lambda found: _rebound(found, worth), step))
    letter = re.findall(r"as ([A-Za-z]);", " ".join(told))[-1]
    if not closing:
        return " ".join(told), worth[letter].constant
    given = gold_of(problem).given_value
    x = (given - worth[letter].constant) // worth[letter].slope
    known = (
        f"We know {letter} = {given}, so we have {worth[letter]} = {given} and we solve it through the following steps:"
    )
    return " ".join([*told, known, f"Solution: x = {x}."]), x


def _rebound(found, worth):
    """An assignment without its links in numbers, which the judge does not ask for."""
    lead, letter, first = found[0].partition(" = ")[0], found[1], found[2].strip()
    return f"{lead} = {worth[letter]}" if first.isdecimal() else f"{lead} = {first} = {worth[letter]}"


def _worth(text, worth):
    """What a link is worth: numbers, letters, brackets and the three operations, as Python's own parser reads them."""

    def of(node):
        match node:
            case ast.BinOp(left, operation, right):
                return OPERATIONS[type(operation)](of(left), of(right))
            case ast.Constant(int(number)):
                return Worth(number)
            case ast.Name(letter):
                return worth[letter]
        raise AssertionError(f"no link has {ast.dump(node)}")

    return of(ast.parse(text.strip(), mode="eval").body)


@settings(max_examples=25)
@given(problems, st.data())
def test_the_judge_names_exactly_the_planted_step_first(problem, data):
    planted = planted_in(problem, data)
    judgement = verify(planted.prefix, gold_of(problem))
    assert judgement.first_error is not None
    first = judgement.steps[judgement.first_error]
    assert (first.name, first.status) == (planted.first_error, STATUS[planted.alternative])
    assert first.end == len(planted.prefix)
    before = judgement.steps[: judgement.first_error]
    assert {step.status for step in before} <= {StepStatus.RIGHT}
    assert all(step.status is StepStatus.MISSING for step in judgement.steps[judgement.first_error + 1 :])


@settings(max_examples=25)
@given(problems, st.data())
def test_going_on_consistently_with_an_error_follows_it_to_the_answer_it_leads_to(problem, data):
    planted = planted_in(problem, data)
    assume(planted.leads_to is not None)
    told, answer = gone_on(problem, planted)
    assert answer == planted.leads_to != problem.answer
    assert ended(problem, planted, answered(told, answer).strip()) is Outcome.FOLLOWED
    assert ended(problem, planted, answered(told, answer + 1000).strip()) is Outcome.OTHER


@settings(max_examples=25)
@given(problems, st.data())
def test_saying_the_step_again_rightly_and_going_on_recovers(problem, data):
    planted = planted_in(problem, data)
    steps, closing = rest_of(problem, planted)
    text = " ".join([planted.prefix, planted.right, *steps, closing])
    assert ended(problem, planted, answered(text, problem.answer).strip()) is Outcome.RECOVERED


@settings(max_examples=25)
@given(problems, st.data())
def test_going_on_as_if_nothing_had_happened_is_a_right_answer_only(problem, data):
    planted = planted_in(problem, data)
    steps, closing = rest_of(problem, planted)
    text = " ".join([planted.prefix, *steps, closing])
    assert ended(problem, planted, answered(text, problem.answer).strip()) is Outcome.ANSWER_ONLY


@settings(max_examples=25)
@given(problems, st.data())
def test_a_wrong_operand_is_told_as_the_teller_tells_it(problem, data):
    gold = gold_of(problem)
    reading = [index for index, step in enumerate(gold.steps.values()) if step.parents and index > 1]
    assume(reading)
    text = answered(body_of(problem), problem.answer)
    planted = plant(text, gold, data.draw(st.sampled_from(reading)), "operand", data.draw(seeds))
    if not isinstance(planted, Planted):
        reject()
    names = {letter: name for name, letter in re.findall(r"Define (.*?) as ([A-Za-z]);", planted.prefix)}
    firsts = re.findall(rf"{BINDS}([^=;.]*)", planted.told)
    parents = [names[letter] for _, first in firsts for letter in re.findall(r"\b[A-Za-z]\b", first) if letter in names]
    needed = [
        replace(quantity, parents=tuple(parents)) if quantity.name == planted.name else quantity
        for quantity in problem.graph.needed
    ]
    drawn = re.findall(r"(?<=as )[A-Za-z](?=;)|(?<=; )[A-Za-z](?= = )", body_of(problem))
    letters = iter([letter for letter in dict.fromkeys(drawn) if letter != "x" or problem.graph.given is None])
    assert planted.told in trace(replace(problem.graph, needed=tuple(needed)), letters.__next__)


@settings(max_examples=25)
@given(problems, seeds)
def test_the_same_seed_plants_the_same(problem, seed):
    gold, text = gold_of(problem), answered(body_of(problem), problem.answer)
    for alternative in ALTERNATIVES:
        assert plant(text, gold, 0, alternative, seed) == plant(text, gold, 0, alternative, seed)
