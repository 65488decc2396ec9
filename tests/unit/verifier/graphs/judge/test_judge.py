"""The strict judge on one small problem of each mode: every status, every fault, and whose fault it is."""

from typing import Any

import pytest

from verifier.graphs.judge.gold import prepare
from verifier.graphs.judge.judge import verify
from verifier.judgement import AnswerStatus, StepStatus

PROBLEM = (
    "The number of adult fox in Farm equals 4. The number of adult owl in Farm equals 2 plus the number of adult fox "
    "in Farm. The number of adult owl in Zoo equals 7. The number of adult bear in Zoo equals the number of adult owl "
    "in Zoo."
)
SOLUTION = (
    "Define adult fox in Farm as R; so R = 4. Define adult owl in Farm as K; so K = 2 + R = 2 + 4 = 6. "
    "Define total number of adult animals in Farm as t; so t = R + K = 4 + 6 = 10. "
)
GOLD = prepare(PROBLEM, "What is the total number of adult animals in Farm?", SOLUTION + "Answer: 10.")

REVERSE_PROBLEM = (
    "The number of adult fox in Farm exists, and its number is greater than 0. The number of adult owl in Farm equals "
    "2 plus the number of adult fox in Farm. The total number of adult animals in Farm equals 10."
)
REVERSE = (
    "The question is difficult, so we use equations to solve it. Define adult fox in Farm as x; we don't know its "
    "value yet but will find it out later. Define adult owl in Farm as K; so K = 2 + x = x + 2. Define total number "
    "of adult animals in Farm as t; so t = x + K = x + x + 2 = 2*x + 2. We know t = 10, so we have 2*x + 2 = 10 and "
    "we solve it through the following steps: Simplifying the equation: 2*x + 2 = 10. Move all terms to one side: "
    "2*x - 8 = 0. Isolate the term with x: 2*x = 8. Divide both sides by 2: x = 8 / 2. Solution: x = 4. "
)
REVERSE_GOLD = prepare(REVERSE_PROBLEM, "How many adult fox does Farm have?", REVERSE + "Answer: 4.")


def judged(old="", new="", answer="10", body=SOLUTION):
    return verify(f" {body.replace(old, new, 1)}</solution> <answer> {answer} </answer>[EOS]", GOLD)


def reversed_judged(old="", new=""):
    assert old in REVERSE
    return verify(f" {REVERSE.replace(old, new, 1)}</solution> <answer> 4", REVERSE_GOLD)


def statuses(judgement):
    return [step.status.value for step in judgement.steps]


def test_the_gold_trace_is_verified_in_either_mode():
    for judgement in (judged(), reversed_judged()):
        assert judgement.verified
        assert (judgement.process_accuracy, judgement.first_error, judgement.faults) == (1.0, None, ())
        assert statuses(judgement) == ["right"] * 3
        assert str(judgement).startswith("verified, process accuracy 1.000, answer right (")


@pytest.mark.parametrize(
    ("old", "new", "status", "reason"),
    [
        ("2 + 4 = 6", "2 + 4 = 7", "wrong value", "'2 + 4' is not '7'"),
        ("2 + 4 = 6", "3 + 4 = 6", "wrong value", "'2 + R' is not '3 + 4'"),
        ("2 + 4 = 6", "2 + 4 = 6.5", "wrong value", "'2 + 4' is not '6.5'"),
        ("2 + 4 = 6", "2 + 4", "wrong value", "the value is not worked out"),
        ("2 + 4 = 6", "2 + 4 = six", "wrong value", "an expression is missing or cannot be read"),
        ("2 + 4 = 6", "2 + 4 = 6 minus one", "wrong value", "'minus one' cannot be read"),
        ("2 + 4 = 6", "2 + 4 = 6 which equals twenty", "wrong value", "'which equals twenty' cannot be read"),
        ("2 + 4 = 6", "2 + 4 = 6 added to itself", "wrong value", "'added to itself' cannot be read"),
        ("2 + 4 = 6", "2 + 4 = 6 that isn't so", "wrong value", '"that isn\'t so" cannot be read'),
        ("2 + 4 = 6", "2 + 4 = 6 which is incorrect", "wrong value", "'which is incorrect' cannot be read"),
        ("2 + 4 = 6", "2 + 4 = 6, or nineteen, rather", "wrong value", "', or nineteen, rather' cannot be read"),
        ("2 + 4 = 6", "9**9**9", "wrong value", "an expression is missing or cannot be read"),
        ("2 + R = 2 + 4 = 6", "6", "wrong operand", "reads nothing; it follows from adult fox in Farm"),
        (
            "2 + R = 2 + 4 = 6",
            "R + R - 2 = 6",
            "wrong operand",
            "combines its operands otherwise than the problem says",
        ),
        (
            "2 + R = 2 + 4 = 6",
            "3 + R = 3 + 4 = 7",
            "wrong value",
            "combines its operands otherwise than the problem says",
        ),
        ("2 + R =", "2 + q =", "wrong operand", "reads q, which stands for nothing"),
        ("2 + R =", "2 + t =", "too early", "reads t, which is defined only later"),
        ("so K = 2 + R = 2 + 4 = 6.", "", "wrong value", "the step is left empty"),
        ("so K =", "so Q =", "wrong value", "the step ends before K has a value"),
        ("so K = 2", "K is 2", "wrong value", "'K is 2 + R = 2 + 4 = 6' cannot be read"),
    ],
)
def test_a_wrong_step_has_a_status_and_a_reason(old, new, status, reason):
    judgement = judged(old, new)
    assert not judgement.verified
    assert judgement.first_error == 1
    assert (judgement.steps[1].status.value, judgement.steps[1].reason) == (status, reason)
    assert judgement.process_accuracy < 1.0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2 + R = 2 + 4", "R + 2 = 4 + 2"),
        ("= 6.", "= 6.0."),
        ("= 6.", "= 6 which follows from the facts above."),
        ("so K = 2 + R = 2 + 4 = 6.", "H = R = 4; so K = 2 + H = 2 + 4 = 6."),
        ("so K", "K"),
        ("Define adult owl", "The number of adult owl in Zoo equals 7. Define adult owl"),
        ("as R; so R = 4", "as x; so x = 4"),
    ],
)
def test_rewording_that_changes_nothing_is_accepted(old, new):
    body = SOLUTION.replace(old, new, 1)
    if new.startswith("as x"):
        body = body.replace("2 + R", "2 + x").replace("R + K", "x + K")
    assert judged(body=body).verified


def test_a_missing_step_is_listed_at_the_end_of_the_text():
    judgement = judged("Define adult owl in Farm as K; so K = 2 + R = 2 + 4 = 6. ")
    assert statuses(judgement) == ["right", "wrong operand", "missing"]
    missing = judgement.steps[-1]
    assert missing.name == "adult owl in Farm"
    assert missing.start == missing.end > judgement.steps[1].end


def test_repeating_a_step_and_stating_a_needless_fact_are_duplicates_without_credit():
    extra = "Define adult fox in Farm as R; so R = 4. Define adult owl in Zoo as f; so f = 7. "
    judgement = judged("Define adult owl", extra + "Define adult owl")
    assert judgement.verified
    assert statuses(judgement) == ["right", "duplicate", "duplicate", "right", "right"]
    assert sum(step.credit == 1.0 for step in judgement.steps) == 3


@pytest.mark.parametrize(
    ("step", "status"),
    [
        ("Define adult owl in Zoo as f; so f = 8. ", StepStatus.WRONG_VALUE),
        ("Define adult owl in Zoo as f; so f = R + 3 = 7. ", StepStatus.WRONG_VALUE),
        ("Define adult owl in Zoo as f; so f = . ", StepStatus.WRONG_VALUE),
        ("Define adult owl in Zoo as f; ", StepStatus.WRONG_VALUE),
        ("Define adult bear in Zoo as f; so f = 7. ", StepStatus.INVENTED),
        ("Define purple dragon in Moon Base as f; so f = 7. ", StepStatus.INVENTED),
        ("define adult owl in Zoo as f; so f = 7. ", StepStatus.INVENTED),
    ],
)
def test_extra_steps_that_are_no_true_literal_fact_are_errors(step, status):
    judgement = judged("Define adult owl in Farm", step + "Define adult owl in Farm")
    assert not judgement.verified
    assert judgement.steps[1].status is status
    assert judgement.process_accuracy == 1.0  # the quantities asked for are all there


def test_a_quantity_redone_wrongly_is_not_derived_whatever_came_before():
    judgement = judged("Define adult owl", "Define adult fox in Farm as R; so R = 5. Define adult owl")
    assert statuses(judgement)[:2] == ["right", "wrong value"]
    assert judgement.process_accuracy < 1.0


def test_the_first_wrong_step_takes_the_blame_and_its_descendants_none():
    body = SOLUTION.replace("R = 4.", "R = 5.").replace("2 + 4 = 6", "2 + 5 = 7").replace("4 + 6 = 10", "5 + 7 = 12")
    judgement = judged(body=body, answer="12")
    assert statuses(judgement) == ["wrong value"] * 3
    assert [step.inherited for step in judgement.steps] == [False, True, True]
    assert [step.credit for step in judgement.steps if step.credit] == [-1.0]
    assert judgement.answer_status is AnswerStatus.WRONG


def test_the_unknown_letter_of_an_undone_step_is_inherited_blame():
    body = SOLUTION.replace("adult fox in Farm", "adult fax in Farm", 1)
    judgement = judged(body=body)
    assert statuses(judgement)[:2] == ["invented", "wrong operand"]
    assert judgement.steps[1].inherited


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ("10", AnswerStatus.RIGHT, "10"),
        ("10.", AnswerStatus.RIGHT, "10"),
        ("+010.0", AnswerStatus.RIGHT, "+010.0"),
        ("11", AnswerStatus.WRONG, "11"),
        ("-10", AnswerStatus.WRONG, "-10"),
        ("10 animals", AnswerStatus.WRONG, "10 animals"),
        ("1" * 100, AnswerStatus.WRONG, "1" * 100),
        (" ", AnswerStatus.MISSING, None),
    ],
)
def test_the_answer_is_the_whole_tag_read_as_a_number(answer, status, said):
    judgement = judged(answer=answer)
    assert (judgement.answer_status, judgement.answer) == (status, said)
    assert judgement.verified == judgement.right == (status is AnswerStatus.RIGHT)


def test_text_around_the_grammar_is_a_fault():
    assert judged("Define adult fox", "There are no owls. Define adult fox").faults
    assert judged("= 10. ", "= 10. We know t = 10, so we have t = 10 and so on. ").faults
    assert verify(f"{SOLUTION}</solution> well <answer> 10", GOLD).faults == (
        "there is text between the end of the solution and the answer",
    )
    long = judged(body=SOLUTION + "Define adult fox in Farm as R; so R = 4. " * 300)
    assert long.faults[-1] == "the trace has too many steps; the rest was not read"
    assert len(judged(body="Well. " * 1000).faults) <= 20


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("We know t = 10", "We know t = 12", "the problem says 10"),
        ("We know t = 10", "We know K = 10", "not the quantity whose value the problem gives"),
        (
            "We know t = 10, so we have 2*x + 2 = 10",
            "Define adult owl in Farm as K; s = 2*t; so K = 2 + x = x + 2. We know s = 10, so we have 4*x + 4 = 10",
            "s is not the quantity whose value the problem gives",
        ),
        ("We know t = 10", "We know t is 10", ": is not of the form 'We know L = N, so we have ...'"),
        ("so we have 2*x + 2 = 10", "so we have 3*x + 2 = 10", "not the equation"),
        ("Simplifying the equation: 2*x", "Simplifying the equation: 3*x", "does not hold"),
        ("Simplifying the equation", "Multiplying by one", "says nothing that can be checked"),
        ("Simplifying the equation", "Simplifying" + " the equation" * 20, "says nothing that can be checked"),
        ("one side: 2*x - 8 = 0", "one side: 2*x - 8 = 1", "does not hold"),
        ("2*x = 8. Divide", "2*x = 9. Divide", "does not hold"),
        ("by 2: x", "by 3: x", "divides by another number"),
        ("x = 8 / 2", "x = 8 / 0", "division by zero"),
        ("Solution: x = 4", "Solution: x = 5", "does not hold"),
        *(
            ("Solution: x = 4", f"Solution: {equation}", "does not say what the unknown is")
            for equation in ("x + 1 = 5", "0*x = 0", "x*0 = 0", "2*x = 8", "x/4 = 1", "x - x = 0", "4 = x", "x = 2 + 2")
        ),
        ("Solution: x = 4. ", "", "never solved"),
        ("Solution: x = 4. ", "Solution: x = 4. So there. ", "says nothing that can be checked"),
    ],
)
def test_a_closing_passage_that_does_not_hold_is_a_fault(old, new, fault):
    judgement = reversed_judged(old, new)
    assert not judgement.verified
    assert any(fault in said for said in judgement.faults), judgement.faults
    assert judgement.process_accuracy == 1.0


def test_the_closing_passage_may_be_short_but_not_left_out():
    start, end = REVERSE.index("Simplifying"), REVERSE.index("Solution:")
    assert reversed_judged(REVERSE[start:end], "").verified
    assert reversed_judged(REVERSE[REVERSE.index("We know") :], "").faults == (
        "the equation is never set up",
        "the equation is never solved",
    )


def test_the_unknown_must_be_left_open():
    phrase = "we don't know its value yet but will find it out later."
    for new in ("so x = 4.", ""):
        judgement = reversed_judged(phrase, new)
        assert judgement.steps[0].reason == "the unknown must be left open until the equation is solved"
    assert not reversed_judged("K = 2 + x = x + 2", "K = 2 + x = 6").verified
    assert not reversed_judged("K = 2 + x = x + 2", "K = 2 + x = 1 + x + 1").verified


def test_a_letter_that_is_bound_anew_is_no_longer_the_unknown():
    fox, owl, end = (REVERSE.index(part) for part in ("Define adult fox", "Define adult owl", "Simplifying"))
    twice = REVERSE[:owl] + REVERSE[fox:owl].replace(" as x;", " as s;")
    steps = twice + REVERSE[owl:end].replace(" as K; so K =", " as x; so x =").replace("t = x + K", "t = s + x")
    steps = steps.replace("= x + x + 2 = 2*x + 2", "= 2*s + 2").replace("2*x + 2 = 10", "t = 10")

    def said(told, again=""):
        return verify(f"{steps.replace('We know', again + 'We know')}{told} </solution> <answer> 4", REVERSE_GOLD)

    assert said("Isolate the term with s: 2*s = 8. Solution: s = 4.").verified
    assert "does not say what the unknown is" in said("Solution: x = 6.").faults[0]
    assert "says nothing that can be checked" in said("Isolate the term with x: x = 6.").faults[0]
    lazy = said("Solution: s = 4.", "Define adult owl in Farm as k; so k = 2 + s = x. ")
    assert (lazy.first_error, lazy.steps[-1].reason) == (4, "the value is not worked out")


def test_a_helper_letter_may_shadow_a_dead_one_but_not_a_live_one():
    dead = SOLUTION.replace("so t = R + K", "R = R + K = 10; so t = R")
    assert judged(body=dead.replace("R = 4 + 6 = 10", "R = 10")).verified
    live = SOLUTION.replace("so K = 2 + R", "R = 2 + R = 6; so K = R")
    assert not judged(body=live).verified


def test_too_many_statements_in_a_step_are_not_read():
    judgement = judged("so K =", "a = 1; " * 100 + "so K =")
    assert judgement.steps[1].reason == "a step of too many statements"


def test_a_judgement_as_data_and_as_text_says_the_same():
    judgement = judged("2 + 4 = 6", "2 + 4 = 7")
    record: dict[str, Any] = judgement.verify_row()
    assert record["first_error"] == 1
    assert record["verified"] is False
    assert record["steps"][1] == {
        "node": "adult owl in Farm",
        "status": "wrong value",
        "reason": "'2 + 4' is not '7'",
        "start": judgement.steps[1].start,
        "end": judgement.steps[1].end,
        "inherited": False,
    }
    assert "> wrong value   adult owl in Farm: '2 + 4' is not '7'" in str(judgement)
    assert "! the answer is 10" in str(judged(answer="3"))
