import pytest

from verifier.judgement import AnswerStatus, StepStatus, StepVerdict, Verdict
from verifier.rewards import SCHEMES, Scheme, published_process, reward, step_credits


def verdict(*statuses, answer=AnswerStatus.RIGHT, quantities=4, inherited=()):
    steps = tuple(
        StepVerdict(f"q{i}", status, "because", 10 * i, 10 * i + 9, i in inherited) for i, status in enumerate(statuses)
    )
    right = sum(step.status is StepStatus.RIGHT for step in steps)
    wrong = [i for i, s in enumerate(steps) if s.status not in (StepStatus.RIGHT, StepStatus.DUPLICATE)]
    verified = not wrong and answer is AnswerStatus.RIGHT
    return Verdict(verified, right / quantities, "3", answer, steps, wrong[0] if wrong else None, (), quantities)


R, W, O, E, D, I, M = (  # noqa: E741 - one letter a status, so that a trace reads as a word
    StepStatus.RIGHT,
    StepStatus.WRONG_VALUE,
    StepStatus.WRONG_OPERAND,
    StepStatus.TOO_EARLY,
    StepStatus.DUPLICATE,
    StepStatus.INVENTED,
    StepStatus.MISSING,
)


def test_every_scheme_gives_a_verified_text_one_and_a_text_without_anything_right_nothing():
    for name in SCHEMES:
        assert reward(verdict(R, R, R, R), Scheme(name)) == 1.0
        assert reward(verdict(M, M, M, M, answer=AnswerStatus.MISSING), Scheme(name)) == 0.0


@pytest.mark.parametrize(
    ("scheme", "right_answer", "wrong_answer"),
    [
        (Scheme("outcome"), 1.0, 0.0),
        (Scheme("mix", 1.0), 1.0, 0.0),
        (Scheme("mix", 0.5), 0.75, 0.0),
        (Scheme("mix", 0.2), 0.6, 0.0),
        (Scheme("strict"), 0.0, 0.0),
        (Scheme("dense", 0.2), 0.6, 0.4),
        (Scheme("published", 0.2), 0.6, 0.0),
    ],
)
def test_a_half_right_trace_under_every_scheme(scheme, right_answer, wrong_answer):
    assert reward(verdict(R, R, W, M), scheme) == pytest.approx(right_answer)
    assert reward(verdict(R, R, W, M, answer=AnswerStatus.WRONG), scheme) == pytest.approx(wrong_answer)


def test_the_published_process_score_counts_errors_of_every_kind():
    assert published_process(verdict(R, O, E, M)) == pytest.approx(0.25)
    assert published_process(verdict(R, R, R, R, D, I)) == pytest.approx(0.75)
    assert published_process(verdict(R, R, R, R, answer=AnswerStatus.WRONG)) == pytest.approx(0.75)
    assert published_process(verdict(R, R, R, R, *[I] * 9)) == 0.0


def test_credit_blames_the_first_wrong_step_of_every_path():
    judged = verdict(R, W, W, D, R, O, M, inherited=(2, 4))
    assert step_credits(judged) == ((0, 9, 1.0), (10, 19, -1.0), (50, 59, -1.0))


def test_a_scheme_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="alpha"):
        Scheme("mix", 1.5)
    with pytest.raises(ValueError, match="no reward scheme"):
        Scheme("best")  # pyright: ignore
