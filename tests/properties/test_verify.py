"""The strict judge on problems of our own: harmless rewriting keeps its judgement, one corruption flips it."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.verifier.graphs.spoiled import (
    CORRUPTIONS,
    answered,
    body_of,
    gold_of,
    made,
    relettered,
    reordered,
    respaced,
)
from verifier.graphs.judge.judge import verify
from verifier.graphs.original.judge import judge
from verifier.graphs.problem import MODES, TEMPLATES
from verifier.rewards.named import ANSWER_REWARDS, STEP_REWARDS

problems = st.builds(
    made,
    op=st.integers(4, 30),
    mode=st.sampled_from(MODES),
    template=st.sampled_from(TEMPLATES),
    seed=st.integers(0, 40),
    depth=st.sampled_from([2, 3]),
    max_constant=st.sampled_from([1, 4, 16]),
)
randoms = st.integers(0, 2**32).map(Random)


@given(problem=problems)
def test_every_gold_trace_is_verified(problem):
    judgement = verify(answered(body_of(problem), problem.answer), gold_of(problem))
    assert judgement.verified
    assert judgement.process_accuracy == 1.0
    assert all(pay(judgement, 0.2) == 1.0 for pay in (*ANSWER_REWARDS.values(), *STEP_REWARDS.values()))


@given(problem=problems, rng=randoms)
def test_letters_order_and_blanks_do_not_matter(problem, rng):
    body = respaced(reordered(relettered(body_of(problem), rng), rng), rng)
    judgement = verify(answered(body, problem.answer), gold_of(problem))
    assert judgement.verified, str(judgement)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.__name__)
@given(problem=problems, rng=randoms)
@settings(max_examples=30)
def test_one_corruption_flips_the_judgement(corruption, problem, rng):
    body = relettered(body_of(problem), rng)
    spoiled = corruption(body, rng)
    if spoiled != body:
        judgement = verify(answered(spoiled, problem.answer), gold_of(problem))
        assert not judgement.verified, spoiled
        assert judgement.right  # the answer was left alone
        assert STEP_REWARDS["strict"](judgement, 0.2) == 0.0


@given(problem=problems, wrong=st.integers(-5, 500))
def test_a_wrong_answer_under_a_right_trace_is_the_only_fault(problem, wrong):
    if wrong != problem.answer:
        judgement = verify(answered(body_of(problem), wrong), gold_of(problem))
        assert (judgement.verified, judgement.process_accuracy, judgement.first_error) == (False, 1.0, None)
        assert judgement.faults == (f"the answer is {problem.answer}",)


@given(problem=problems, cut=st.integers(0, 2000))
def test_a_text_cut_off_anywhere_is_never_verified_and_earns_no_more_than_its_whole_steps(problem, cut):
    text = f" {body_of(problem)}"[:cut]
    judgement = verify(text, gold_of(problem))
    assert not judgement.verified
    assert all(step.end <= len(text) for step in judgement.steps)


@given(text=st.text(), problem=problems)
def test_any_text_gets_a_judgement_from_both_judges(text, problem):
    assert not verify(text, gold_of(problem)).verified
    assert judge(text, problem.solution).process_acc == 0.0


WORDS = (
    "Define define as a x k ; . = so + * - / ( ) 3 4.5 007 ** 9**9 < > We know Solution: Answer: </solution> <answer> "
    "</answer> [EOS] total number of adult animals in South Zoo \0 \ud800 \u00e9"
)
FRAGMENTS = st.lists(st.sampled_from([*WORDS.split(), "\n"]), max_size=60)


@given(parts=FRAGMENTS, problem=problems)
@settings(max_examples=100)
def test_shuffled_pieces_of_traces_get_a_judgement_from_both_judges(parts, problem):
    text = " ".join(parts)
    assert 0.0 <= verify(text, gold_of(problem)).process_accuracy <= 1.0
    assert 0.0 <= judge(text, problem.solution).process_reward <= 1.0


@given(problem=problems, rng=randoms)
def test_the_same_text_gets_the_same_judgement(problem, rng):
    text = answered(respaced(body_of(problem), rng), problem.answer)
    assert verify(text, gold_of(problem)) == verify(text, gold_of(problem))
