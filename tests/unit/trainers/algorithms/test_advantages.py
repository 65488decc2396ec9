from __future__ import annotations

import pytest

from actors.records import Completion, Rollout, TokenCredit
from trainers.algorithms.advantages import group_advantages, has_signal, token_advantages


def test_the_mean_of_the_group_is_subtracted():
    assert group_advantages([[1.0, 0.0, 0.0, 0.0], [2.0, 4.0]]) == [[0.75, -0.25, -0.25, -0.25], [-1.0, 1.0]]


def test_the_group_scale_divides_by_the_groups_own_deviation():
    assert group_advantages([[1.0, 0.0], [5.0, 1.0]], "group") == [[1.0, -1.0], [1.0, -1.0]]


def test_the_batch_scale_keeps_groups_in_proportion():
    small, large = group_advantages([[1.0, 0.0], [4.0, 0.0]], "batch")
    assert large[0] == pytest.approx(4 * small[0])
    assert sum(x * x for x in small + large) / 4 == pytest.approx(1)


@pytest.mark.parametrize("scale", ["none", "group", "batch"])
def test_equal_rewards_give_no_advantage_and_no_division_by_zero(scale):
    assert group_advantages([[0.3] * 3, [1.0] * 3], scale) == [[pytest.approx(0)] * 3] * 2


def judged(length: int, *credits: TokenCredit, reward: float = 1.0) -> Rollout:
    completion = Completion(0, (20,) * length, (0.0,) * length, "stop", 0, 0)
    return Rollout(completion, "", None, reward, credits)


@pytest.mark.parametrize("step_weight", [0.0, 0.2])
def test_a_group_whose_rewards_differ_has_a_signal(step_weight):
    assert has_signal([judged(2, reward=0.0), judged(2)], step_weight)
    assert not has_signal([judged(2), judged(2)], step_weight)
    assert not has_signal([], step_weight)


def test_equal_rewards_have_a_signal_when_steps_count_and_their_credits_differ():
    differ = [judged(2, TokenCredit(0, 2, 1.0)), judged(2, TokenCredit(0, 2, -1.0))]
    alike = [judged(2, TokenCredit(0, 2, 1.0))] * 2
    assert [has_signal(differ, weight) for weight in (0.0, 0.2)] == [False, True]
    assert not has_signal(alike, 0.2)


def test_step_credit_reaches_the_tokens_of_its_step_only():
    rollouts = [judged(4, TokenCredit(0, 2, 1.0), TokenCredit(2, 3, -1.0)), judged(2, TokenCredit(0, 2, 0.0))]
    one, two = token_advantages(rollouts, [0.5, -0.5], 0.2)
    assert one.tolist() == pytest.approx([0.7, 0.7, 0.3, 0.5])
    assert two.tolist() == pytest.approx([-0.5, -0.5])


def test_credits_that_are_all_equal_add_nothing():
    rollouts = [judged(2, TokenCredit(0, 2, 1.0)), judged(3, TokenCredit(0, 3, 1.0))]
    assert [a.tolist() for a in token_advantages(rollouts, [1.0, -1.0], 0.2)] == [[1.0] * 2, [-1.0] * 3]


def test_without_weight_every_token_has_its_completions_advantage():
    rollouts = [judged(2, TokenCredit(0, 2, 1.0)), judged(2, TokenCredit(0, 2, -1.0))]
    assert [a.tolist() for a in token_advantages(rollouts, [1.0, -1.0], 0.0)] == [[1.0] * 2, [-1.0] * 2]
