from __future__ import annotations

import math

import pytest
import torch

from trainers.algorithms.losses import LossConfig, TokenStreams, kl_penalty, mismatch_correction, policy_loss


def streams(logprob, old, advantage, weight=None, reference=None, correction=None) -> TokenStreams:
    return TokenStreams(
        logprob=torch.tensor(logprob, dtype=torch.float64, requires_grad=True),
        old_logprob=torch.tensor(old, dtype=torch.float64),
        advantage=torch.tensor(advantage, dtype=torch.float64),
        weight=torch.tensor(weight or [1 / len(logprob)] * len(logprob), dtype=torch.float64),
        correction=torch.tensor(correction or [1.0] * len(logprob), dtype=torch.float64),
        reference_logprob=None if reference is None else torch.tensor(reference, dtype=torch.float64),
    )


def gradient(given: TokenStreams, config: LossConfig) -> list[float]:
    policy_loss(given, config).loss.backward()
    assert given.logprob.grad is not None
    return given.logprob.grad.tolist()


def test_dapo_by_hand():
    ratios = [1.1, 1.5, 0.5, 1.0]
    given = streams([math.log(r) for r in ratios], [0.0] * 4, [1.0, 1.0, -1.0, -2.0])
    made = policy_loss(given, LossConfig("dapo", clip_low=0.2, clip_high=0.28))
    # 1.1 * 1; 1.28 * 1 (clipped); -0.8 (clipped: min(-0.5, -0.8)); -2
    assert made.loss.item() == pytest.approx(-(1.1 + 1.28 - 0.8 - 2.0) / 4)
    assert made.clipped.item() == 2


def test_clipped_tokens_have_no_gradient_and_the_others_the_ratios():
    ratios = [1.1, 1.5, 0.5, 1.5]
    given = streams([math.log(r) for r in ratios], [0.0] * 4, [1.0, 1.0, -1.0, -1.0])
    assert gradient(given, LossConfig("dapo")) == pytest.approx([-1.1 / 4, 0, 0, 1.5 / 4])


@pytest.mark.parametrize("objective", ["dapo", "grpo", "dr_grpo", "cispo"])
def test_on_policy_every_objective_has_reinforces_gradient(objective):
    values = ([-0.3, -2.0, -1.0], [-0.3, -2.0, -1.0], [0.5, -1.0, 2.0])
    expected = gradient(streams(*values), LossConfig("reinforce"))
    assert gradient(streams(*values), LossConfig(objective)) == pytest.approx(expected)


def test_cispo_caps_the_weight_but_keeps_the_gradient():
    given = streams([math.log(3.0)], [0.0], [2.0])
    assert gradient(given, LossConfig("cispo", clip_high=0.28)) == pytest.approx([-1.28 * 2.0])


def test_cross_entropy_is_the_weighted_negative_log_probability():
    given = streams([-1.0, -3.0], [0.0, 0.0], [9.0, 9.0], weight=[0.25, 0.75])
    assert policy_loss(given, LossConfig("cross_entropy")).loss.item() == pytest.approx(0.25 + 2.25)


def test_kl_penalties_by_hand():
    logprob, reference = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -2.0])
    k3 = kl_penalty(logprob, reference, "k3")
    assert k3.tolist() == pytest.approx([math.exp(-0.5) + 0.5 - 1, 0.0])
    assert kl_penalty(logprob, reference, "k2").tolist() == pytest.approx([0.125, 0.0])


def test_the_k3_mean_is_the_true_kl_and_the_k2_gradient_is_the_true_gradient():
    logits = torch.tensor([0.2, -0.5, 1.0], dtype=torch.float64, requires_grad=True)
    policy = torch.log_softmax(logits, 0)
    reference = torch.log_softmax(torch.tensor([0.0, 0.3, -0.2], dtype=torch.float64), 0)
    true = (policy.exp() * (policy - reference)).sum()
    expectation = (policy.exp().detach() * kl_penalty(policy, reference, "k3")).sum()
    assert expectation.item() == pytest.approx(true.item())
    (exact,) = torch.autograd.grad(true, logits, retain_graph=True)
    k2 = (policy.exp().detach() * kl_penalty(policy, reference, "k2")).sum()
    (sampled,) = torch.autograd.grad(k2, logits)
    torch.testing.assert_close(sampled, exact)


def test_the_penalty_pulls_towards_the_reference():
    given = streams([-1.0], [-1.0], [0.0], reference=[-0.5])
    assert gradient(given, LossConfig("dapo", kl=0.1))[0] < 0  # a step against it raises the log-probability


@pytest.mark.parametrize("objective", ["dapo", "grpo", "dr_grpo", "cispo", "reinforce", "cross_entropy"])
def test_gradients_agree_with_finite_differences(objective):
    # CISPO's and the correction's factors are constants by definition, so they are held fixed here.
    config = LossConfig(objective, kl=0.05, kl_estimator="k3")
    base = [-0.31, -1.7, -0.9, -2.2]
    old = base if objective == "cispo" else [-0.4, -1.65, -1.0, -2.0]
    rest = (old, [1.0, -0.5, 0.3, -2.0], [0.1, 0.2, 0.3, 0.4], [-0.5, -1.0, -1.1, -2.1], [1.0, 0.7, 2.0, 1.3])
    made = gradient(streams(base, *rest), config)
    step = 1e-6
    for i in range(len(base)):
        ends = []
        for sign in (1, -1):
            moved = [b + sign * step * (i == j) for j, b in enumerate(base)]
            value = policy_loss(streams(moved, *rest), config).loss.item()
            ends.append(value)
        if objective != "cispo":
            assert made[i] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_the_correction_is_capped_and_exactly_one_where_policies_agree():
    old, behaviour = torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-1.00001, -3.0, -1.5])
    made = mismatch_correction(old, behaviour, torch.tensor([False, True, True]), 2.0)
    assert made.tolist() == pytest.approx([1.0, 2.0, math.exp(0.5)])
    assert made[0].item() == 1.0
