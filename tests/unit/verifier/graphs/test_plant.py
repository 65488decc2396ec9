"""What cannot be planted says why, and a trace is right before anything is planted in it."""

import pytest

from tests.unit.verifier.graphs.spoiled import answered, body_of, gold_of, made
from verifier.errors import NotARightTrace
from verifier.graphs.family import GraphsConfig
from verifier.graphs.judge.gold import prepare
from verifier.graphs.judge.judge import verify
from verifier.graphs.plant import plant
from verifier.judgement import TraceJudgement
from verifier.recovery import ALTERNATIVES, Outcome, Planted, Plants, Unplanted, outcome

FORWARD, REVERSE = made(5, seed=3), made(5, "reverse", seed=3)


def text_of(problem):
    return answered(body_of(problem), problem.answer)


@pytest.mark.parametrize(
    ("problem", "step", "alternative", "reason"),
    [
        (FORWARD, 0, "operand", "the step reads no other quantity"),
        (FORWARD, 1, "operand", "no other quantity before the step leads to another whole answer"),
        (FORWARD, -1, "omission", "no later step reads it"),
        (REVERSE, 0, "value", "the unknown has no value yet"),
        (REVERSE, 0, "operand", "the step reads no other quantity"),
    ],
)
def test_what_cannot_be_planted_says_why(problem, step, alternative, reason):
    gold = gold_of(problem)
    names = list(gold.steps)
    found = plant(text_of(problem), gold, step % len(names), alternative, 0)
    assert found == Unplanted(alternative, step % len(names), names[step], reason)


def test_a_step_that_says_a_fact_which_nobody_needs_is_no_place_for_an_error():
    gold = gold_of(made(8, seed=1))
    fact, value = next(iter(gold.facts.keys() - gold.steps.keys())), None
    value = gold.facts[fact]
    text = f"Define {fact} as Z; so Z = {value}. {text_of(made(8, seed=1)).strip()}"
    found = plant(text, gold, 0, "value", 0)
    assert isinstance(found, Unplanted)
    assert found.reason == "the answer does not need the step"


@pytest.mark.parametrize(
    ("text", "step", "message"),
    [
        (text_of(FORWARD).replace("so I = 4.", "so I = 9."), 0, "the trace is not verified"),
        ("", 0, "the trace is not verified"),
        (text_of(FORWARD), 99, "the trace has 3 steps, and none with the index 99"),
    ],
)
def test_errors_are_planted_in_right_traces_only(text, step, message):
    with pytest.raises(NotARightTrace, match=message):
        plant(text, gold_of(FORWARD), step, "value", 0)


def test_seeds_choose_among_wrong_values():
    gold, text = gold_of(FORWARD), text_of(FORWARD)
    told = {planted.told for seed in range(12) if isinstance(planted := plant(text, gold, 0, "value", seed), Planted)}
    assert len(told) > 2


def test_a_value_that_is_not_whole_is_no_place_for_a_wrong_one():
    """Texts from anywhere may calculate with fractions; the alternatives are of whole numbers."""
    problem, question = "The number of A in B equals 1. The number of C in B equals A.", "How many C does B have?"
    solution = "Define A in B as a; so a = 0.5. Define C in B as c; so c = 2 * a = 2 * 0.5 = 1. Answer: 1."
    gold = prepare(problem, question, solution)
    found = plant(
        "Define A in B as a; so a = 0.5. Define C in B as c; so c = 2 * a = 1. <answer> 1 </answer>",
        gold,
        0,
        "value",
        0,
    )
    assert isinstance(found, Unplanted)


def test_the_task_plants_and_judges_as_if_the_error_were_true():
    task = GraphsConfig(ops=(5,)).task()
    assert isinstance(task, Plants)
    item = task.item(task.strata()[0], 0, 0, "test")
    assert item.gold is not None
    planted = task.plant(item, item.gold, 0, "value", 1)
    assert isinstance(planted, Planted)
    text = f"{planted.prefix} </solution> <answer> {planted.leads_to} </answer>"
    as_if = task.judge_as_if(planted, text)
    assert as_if is not None
    assert as_if.right
    judgement = task.judge(item, text)
    assert isinstance(judgement, TraceJudgement)
    assert outcome(planted, judgement, as_if, len(planted.prefix) - 1, cut_off=False) is Outcome.OTHER


def test_tokens_that_run_out_before_an_answer_are_told_from_a_wrong_end():
    gold = gold_of(FORWARD)
    planted = plant(text_of(FORWARD), gold, 0, "omission", 0)
    assert isinstance(planted, Planted)
    judgement = verify(planted.prefix, gold)
    assert outcome(planted, judgement, None, len(planted.prefix), cut_off=True) is Outcome.CUT_OFF
    assert outcome(planted, judgement, None, len(planted.prefix), cut_off=False) is Outcome.OTHER


def test_a_step_that_is_said_twice_can_be_left_out_once():
    """Nothing is wrong then: the judge is asked before an alternative counts as an error."""
    gold, text = gold_of(FORWARD), text_of(FORWARD).strip()
    first = text[: text.index(" Define", 10)]
    found = plant(f"{first} {text}", gold, 0, "omission", 0)
    assert isinstance(found, Unplanted)
    assert found.reason == "a later step says the same"


@pytest.mark.parametrize("problem", [made(12, "forward", seed=2), made(12, "reverse", seed=2)])
def test_most_alternatives_can_be_made(problem):
    gold = gold_of(problem)
    text, steps = text_of(problem), range(len(gold.steps))
    found = [plant(text, gold, step, alternative, 0) for step in steps for alternative in ALTERNATIVES]
    assert sum(isinstance(one, Planted) for one in found) > len(found) / 2


def test_a_wrong_operand_of_a_difference_stands_in_brackets_in_a_reverse_trace():
    problem = made(12, "reverse", seed=4, depth=3)
    found = plant(text_of(problem), gold_of(problem), 4, "operand", 0)
    assert isinstance(found, Planted)
    assert found.right.endswith("as K; A = Y - z = (4*x) - (x) = 3*x; so K = 1 + A = 1 + 3*x = 3*x + 1.")
    assert found.told.endswith("as K; A = x - z = (x) - (x) = 0; so K = 1 + A = 1 + 0 = 1.")
