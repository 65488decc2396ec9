import pytest

from tests.judgements import trace
from tests.tasks import ITEM
from verifier.errors import BadReward
from verifier.judgement import Judgement, StepStatus
from verifier.rewards.named import published_process
from verifier.rewards.registry import NAMES, Reward, reward

R, W, O, E, D, I, M = (  # noqa: E741 - one letter a status, so that a trace reads as a word
    StepStatus.RIGHT,
    StepStatus.WRONG_VALUE,
    StepStatus.WRONG_OPERAND,
    StepStatus.TOO_EARLY,
    StepStatus.DUPLICATE,
    StepStatus.INVENTED,
    StepStatus.MISSING,
)


def paid(judgement, *rewards):
    return reward(judgement, ITEM, "text", rewards)


@pytest.mark.parametrize("name", NAMES)
def test_every_reward_gives_a_verified_text_one_and_a_text_without_anything_right_nothing(name):
    assert paid(trace(R, R, R, R), Reward(name)) == 1.0
    assert paid(trace(M, M, M, M, right=False, answer=None), Reward(name)) == 0.0


@pytest.mark.parametrize(
    ("spec", "right_answer", "wrong_answer"),
    [
        (Reward("outcome"), 1.0, 0.0),
        (Reward("mix", 1.0), 1.0, 0.0),
        (Reward("mix", 0.5), 0.75, 0.0),
        (Reward("mix", 0.2), 0.6, 0.0),
        (Reward("strict"), 0.0, 0.0),
        (Reward("dense", 0.2), 0.6, 0.4),
        (Reward("published", 0.2), 0.6, 0.0),
    ],
)
def test_a_half_right_trace_under_every_reward(spec, right_answer, wrong_answer):
    assert paid(trace(R, R, W, M), spec) == pytest.approx(right_answer)
    assert paid(trace(R, R, W, M, right=False), spec) == pytest.approx(wrong_answer)


def test_the_score_is_the_partial_credit_where_there_is_one():
    assert paid(Judgement(right=False, partial=0.25), Reward("score")) == 0.25
    assert paid(Judgement(right=True), Reward("score")) == 1.0


def test_the_published_process_score_counts_errors_of_every_kind():
    assert published_process(trace(R, O, E, M)) == pytest.approx(0.25)
    assert published_process(trace(R, R, R, R, D, I)) == pytest.approx(0.75)
    assert published_process(trace(R, R, R, R, right=False)) == pytest.approx(0.75)
    assert published_process(trace(R, R, R, R, *[I] * 9)) == 0.0


def test_of_several_rewards_the_weighted_mean_counts():
    blend = (Reward("outcome", weight=3.0), Reward("strict", weight=1.0))
    assert paid(trace(R, R, W, M), *blend) == pytest.approx(0.75)


def test_a_reward_that_makes_no_sense_is_refused():
    with pytest.raises(BadReward, match="alpha"):
        Reward("mix", 1.5)
    with pytest.raises(BadReward, match="weight"):
        Reward("mix", weight=0.0)
    with pytest.raises(BadReward, match=r"no reward 'outcom'; did you mean outcome\?"):
        Reward("outcom")
