"""What may change in a right trace without changing its judgement, and what may not: random problems of the grid."""

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from verifier.graphs.generate import generate
from verifier.graphs.judge.judge import prepare, verify
from verifier.graphs.problem import MODES, TEMPLATES, Problem, ProblemSpec
from verifier.graphs.solver.solve import solve
from verifier.graphs.tell import completion_text

LETTER = re.compile(r"(?<![\w'])[A-Za-z](?![\w'])")
NUMBER = re.compile(r"\d+")
UNKNOWN = "x"

specs = st.builds(
    ProblemSpec,
    op=st.integers(4, 24),
    mode=st.sampled_from(MODES),
    template=st.sampled_from(TEMPLATES),
    depth=st.sampled_from((2, 3)),
)
problems = st.builds(generate, specs, st.integers(0, 2**63 - 1))


def _judge(problem: Problem, text: str):
    return verify(" " + text, prepare(problem.problem, problem.question, problem.solution))


def _steps(text: str) -> list[str]:
    """The opening, if any, and each step with all that follows it."""
    return re.split(r"(?=Define )", text)


def _assigned(step: str) -> set[str]:
    return set(re.findall(r"(?<![A-Za-z])[A-Za-z](?= =|;)", step))


def _letters(step: str) -> set[str]:
    return set(LETTER.findall(step))


def _replaced(text: str, match: re.Match[str], new: str) -> str:
    return text[: match.start()] + new + text[match.end() :]


@given(problems)
def test_the_gold_trace_is_verified_step_by_step_as_the_solver_derives_it(problem: Problem):
    judgement = _judge(problem, completion_text(problem.solution))
    assert judgement.verified
    assert judgement.process_accuracy == 1
    assert {step.name for step in judgement.steps} == solve(problem.problem, problem.question).values().keys()
    assert judgement.answer == str(solve(problem.problem, problem.question).answer)


@given(problems, st.randoms(use_true_random=False))
def test_other_letters_make_no_difference(problem: Problem, random):
    free = [letter for letter in string.ascii_letters if letter not in "xX"]
    renamed = dict(zip(free, random.sample(free, len(free)), strict=True))
    text = completion_text(problem.solution)
    changed = LETTER.sub(lambda match: renamed.get(match[0], match[0]), text)
    assert _judge(problem, changed).verified


@given(problems, st.randoms(use_true_random=False))
def test_white_space_makes_no_difference(problem: Problem, random):
    text = completion_text(problem.solution)
    body, tag, answer = text.partition(" </solution>")
    changed = re.sub(" ", lambda _: random.choice([" ", "  ", "\n", " \t", "\r\n"]), body)
    assert _judge(problem, changed + tag + answer).verified


@given(problems, st.data())
def test_the_order_of_independent_steps_makes_no_difference(problem: Problem, data):
    steps = _steps(completion_text(problem.solution))
    first = 1 if steps[0].startswith("The question") or not steps[0] else 0
    free = [
        at
        for at in range(first, len(steps) - 2)  # the closing equations stay with the last step
        if not _assigned(steps[at]) & _letters(steps[at + 1]) and not _assigned(steps[at + 1]) & _letters(steps[at])
    ]
    assume(free)
    at = data.draw(st.sampled_from(free))
    steps[at], steps[at + 1] = steps[at + 1], steps[at]
    assert _judge(problem, "".join(steps)).verified


@given(problems, st.data())
def test_one_wrong_number_anywhere_flips_the_judgement(problem: Problem, data):
    text = completion_text(problem.solution)
    match = data.draw(st.sampled_from(list(NUMBER.finditer(text))))
    wrong = data.draw(st.integers(0, 999).filter(lambda number: number != int(match[0])))
    assert not _judge(problem, _replaced(text, match, str(wrong))).verified


@given(problems, st.data())
def test_one_letter_that_was_never_defined_flips_the_judgement(problem: Problem, data):
    text = completion_text(problem.solution)
    match = data.draw(st.sampled_from(list(LETTER.finditer(text))))
    spare = [letter for letter in string.ascii_letters if letter not in _letters(text)]
    assert not _judge(problem, _replaced(text, match, data.draw(st.sampled_from(spare)))).verified


@given(problems, st.data())
def test_one_missing_step_flips_the_judgement(problem: Problem, data):
    steps = _steps(completion_text(problem.solution))
    defined = [at for at, step in enumerate(steps[:-1]) if step.startswith("Define")]
    assume(defined)
    del steps[data.draw(st.sampled_from(defined))]
    judgement = _judge(problem, "".join(steps))
    assert not judgement.verified
    assert judgement.process_accuracy < 1


@given(problems, st.data())
def test_one_character_less_in_a_name_flips_the_judgement(problem: Problem, data):
    text = completion_text(problem.solution)
    name = data.draw(st.sampled_from(list(re.finditer(r"(?<=Define )(.+?)(?= as [A-Za-z];)", text))))
    at = data.draw(st.integers(name.start(), name.end() - 1).filter(lambda place: text[place] != " "))
    assert not _judge(problem, text[:at] + text[at + 1 :]).verified


@given(problems, st.data())
def test_one_sign_between_letters_turned_round_flips_the_judgement(problem: Problem, data):
    """Even where the value stays the same, as in 2 + 2 = 2 * 2. (Between two numbers such a change may be true.)"""
    text = completion_text(problem.solution)
    signs = list(re.finditer(r"(?<=[A-Za-z] )[+*-](?= [A-Za-z]\b)", text))
    assume(signs)
    match = data.draw(st.sampled_from(signs))
    other = data.draw(st.sampled_from([sign for sign in "+-*" if sign != match[0]]))
    assert not _judge(problem, _replaced(text, match, other)).verified


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("mode", MODES)
def test_a_trace_of_another_problem_is_not_verified(mode, template):
    spec = ProblemSpec(op=9, mode=mode, template=template)
    one, other = generate(spec, 1), generate(spec, 2)
    assert not _judge(one, completion_text(other.solution)).verified
