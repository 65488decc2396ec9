from __future__ import annotations

from itertools import combinations
from math import comb
from statistics import fmean, pstdev

import numpy as np
import pytest

from actors.records import Completion, Rollout, TokenCredit
from trainers.algorithms.advantages import overlong, token_advantages
from trainers.algorithms.registry import ALGORITHMS
from trainers.algorithms.signal import has_signal
from trainers.config import LearningConfig


def advantages(rewards: list[list[float]], name: str = "dapo", **knobs) -> list[list[float]]:
    return ALGORITHMS[name].advantages(rewards, LearningConfig.model_validate({"algorithm": name, **knobs}))


def test_the_mean_of_the_group_is_subtracted():
    assert advantages([[1.0, 0.0, 0.0, 0.0], [2.0, 4.0]]) == [[0.75, -0.25, -0.25, -0.25], [-1.0, 1.0]]


def test_the_group_scale_divides_by_the_groups_own_sample_deviation():
    assert advantages([[1.0, 0.0, 0.5], [5.0, 1.0, 3.0]], "grpo") == [pytest.approx([1.0, -1.0, 0.0])] * 2
    assert advantages([[1.0, 0.0]], "grpo") == [pytest.approx([0.5**0.5, -(0.5**0.5)])]


def test_the_batch_scale_keeps_groups_in_proportion():
    small, large = advantages([[1.0, 0.0], [4.0, 0.0]], "reinforce_plus_plus")
    assert large[0] == pytest.approx(4 * small[0])
    assert sum(x * x for x in small + large) / 3 == pytest.approx(1)


def test_leaving_one_out_compares_with_the_mean_of_the_others():
    assert advantages([[3.0, 0.0, 1.0], [1.0, 0.0]], "rloo") == [pytest.approx([2.5, -2.0, -0.5]), [1.0, -1.0]]


def test_maxrl_divides_by_the_pass_rate():
    assert advantages([[1.0, 0.0, 0.0, 0.0]], "maxrl") == [pytest.approx([3.0, -1.0, -1.0, -1.0])]
    assert advantages([[2e-6, 0.0]], "maxrl") == [[0.0, 0.0]], "a mean of 1e-6 counts as 0"


@pytest.mark.parametrize(("right", "k"), [(1, 2), (3, 2), (2, 4), (1, 1), (5, 4)])
def test_pass_at_k_is_the_papers_formula_for_rewards_of_0_and_1(right, k):
    count = 8
    mean = 1 - comb(count - right, k) / comb(count, k)
    deviation = (mean * (1 - mean)) ** 0.5
    wrong = 1 - mean - comb(count - right - 1, k - 1) / comb(count - 1, k - 1)
    (made,) = advantages([[1.0] * right + [0.0] * (count - right)], "pass_at_k", pass_k=k)
    expected = [(1 - mean) / deviation] * right + [wrong / deviation] * (count - right) if deviation else [0.0] * count
    assert made == pytest.approx(expected)


def test_pass_at_k_is_exact_for_any_rewards():
    rewards, k = [0.1, 0.7, 0.3, 0.7, 0.0], 3
    subsets = list(combinations(range(5), k))
    best = [max(rewards[i] for i in s) for s in subsets]
    expected = [fmean(b for s, b in zip(subsets, best, strict=True) if i in s) - fmean(best) for i in range(5)]
    (made,) = advantages([rewards], "pass_at_k", pass_k=k)
    assert made == pytest.approx([e / pstdev(best) for e in expected])


def test_the_overlong_penalty_falls_from_0_to_minus_1():
    assert overlong([10, 16, 18, 20, 25], 20, 4) == [0.0, 0.0, -0.5, -1.0, -1.0]


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
@pytest.mark.parametrize("reward", [0.0, 0.3, 1.0])
def test_equal_rewards_and_single_completions_have_no_advantage_in_any_algorithm(name, reward):
    made = advantages([[reward] * 4, [reward]], name)
    assert made == [[pytest.approx(0, abs=1e-9)] * 4, [pytest.approx(0)]]


def judged(length: int, *credits: TokenCredit, reward: float = 1.0) -> Rollout:
    completion = Completion(0, (20,) * length, (0.0,) * length, "stop", 0, 0)
    return Rollout(completion, "", None, reward, credits)


@pytest.mark.parametrize("token_credit", [0.0, 0.2])
@pytest.mark.parametrize("name", sorted(name for name in ALGORITHMS if ALGORITHMS[name].ratio != "completion"))
def test_a_group_whose_rewards_differ_has_a_signal(name, token_credit):
    config = LearningConfig(algorithm=name, token_credit=token_credit)
    assert has_signal([judged(2), *[judged(2, reward=0.0)] * 7], config)
    assert not has_signal([judged(2, reward=0.1)] * 3, config)
    assert not has_signal([], config)


@pytest.mark.parametrize("right", range(9))
def test_the_best_of_4_draws_of_8_has_a_signal_only_where_it_can_fail(right):
    group = [judged(2, reward=float(number < right)) for number in range(8)]
    assert has_signal(group, LearningConfig(algorithm="pass_at_k", pass_k=4)) == (0 < right < 5)


def test_equal_rewards_have_a_signal_when_steps_count_and_their_credits_differ():
    differ = [judged(2, TokenCredit(0, 2, 1.0)), judged(2, TokenCredit(0, 2, -1.0))]
    alike = [judged(2, TokenCredit(0, 2, 1.0))] * 2
    assert [has_signal(differ, LearningConfig(token_credit=weight)) for weight in (0.0, 0.2)] == [False, True]
    assert not has_signal(alike, LearningConfig(token_credit=0.2))


def test_step_credit_reaches_the_tokens_of_its_step_only():
    rollouts = [judged(4, TokenCredit(0, 2, 1.0), TokenCredit(2, 3, -1.0)), judged(2, TokenCredit(0, 2, 0.0))]
    one, two = token_advantages(rollouts, [0.5, -0.5], 0.2)
    assert one.tolist() == pytest.approx([0.7, 0.7, 0.3, 0.5])
    assert two.tolist() == pytest.approx([-0.5, -0.5])
    assert one.dtype == np.float32


def test_credit_to_go_is_that_of_a_step_and_all_later_ones():
    first = judged(5, TokenCredit(0, 2, 1.0), TokenCredit(2, 3, 1.0), TokenCredit(3, 4, -1.0))
    second = judged(2, TokenCredit(0, 2, -1.0))
    one, two = token_advantages([first, second], [0.5, -0.5], 0.2, "to_go")
    # The credits' mean is 0: what is left to earn is 1, 0 and -1 in the first, -1 in the second.
    assert one.tolist() == pytest.approx([0.7, 0.7, 0.5, 0.3, 0.5])
    assert two.tolist() == pytest.approx([-0.7, -0.7])


def test_credits_that_are_all_equal_add_nothing():
    rollouts = [judged(2, TokenCredit(0, 2, 1.0)), judged(3, TokenCredit(0, 3, 1.0))]
    assert [a.tolist() for a in token_advantages(rollouts, [1.0, -1.0], 0.2)] == [[1.0] * 2, [-1.0] * 3]


def test_without_weight_every_token_has_its_completions_advantage():
    rollouts = [judged(2, TokenCredit(0, 2, 1.0)), judged(2, TokenCredit(0, 2, -1.0))]
    assert [a.tolist() for a in token_advantages(rollouts, [1.0, -1.0], 0.0)] == [[1.0] * 2, [-1.0] * 2]


def test_completions_without_any_step_have_their_own_advantage_alone():
    rollouts = [judged(2), judged(1)]
    assert [a.tolist() for a in token_advantages(rollouts, [1.0, -1.0], 0.2)] == [[1.0] * 2, [-1.0]]
    with pytest.raises(ValueError, match="shorter"):
        token_advantages(rollouts, [1.0], 0.2)
