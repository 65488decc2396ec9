"""Losses by hand, by finite differences, and against the numbers of TRL 1.16 (`benchmarks/trl_reference.py`)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.algorithms.losses import cross_entropy, kl_penalty, policy_loss
from trainers.algorithms.registry import ALGORITHMS
from trainers.algorithms.tokens import Tokens
from trainers.config import LearningConfig
from trainers.learner.packing import Weigher

TRL = json.loads((Path(__file__).parents[3] / "golden" / "trl_losses.json").read_text())


def config(name: str = "dapo", **knobs) -> LearningConfig:
    return LearningConfig.model_validate({"algorithm": name, **knobs})


def tokens(logprob, old, advantage, weight=None, reference=None, correction=None, completion=None) -> Tokens:
    return Tokens(
        logprob=torch.tensor(logprob, dtype=torch.float64, requires_grad=True),
        old_logprob=torch.tensor(old, dtype=torch.float64),
        advantage=torch.tensor(advantage, dtype=torch.float64),
        weight=torch.tensor(weight or [1 / len(logprob)] * len(logprob), dtype=torch.float64),
        correction=torch.tensor(correction or [1.0] * len(logprob), dtype=torch.float64),
        completion=torch.tensor(completion or [0] * len(logprob)),
        reference_logprob=None if reference is None else torch.tensor(reference, dtype=torch.float64),
    )


def gradient(given: Tokens, learning: LearningConfig) -> list[float]:
    policy_loss(given, learning).loss.backward()
    assert given.logprob.grad is not None
    return given.logprob.grad.tolist()


CASES = {
    "grpo": config("grpo"),
    "grpo with dual_clip": config("grpo", dual_clip=1.5),
    "dr_grpo": config("dr_grpo"),
    "dapo": config("dapo"),
    "dapo with kl": config("dapo", kl=0.1),
    "gspo": config("gspo"),
    "gspo with wide clip": config("gspo", clip_low=0.2, clip_high=0.2),
    "cispo": config("cispo"),
    "cispo with low cap": config("cispo", clip_high=0.2),
    "rloo": config("rloo"),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_are_trls(name):
    learning, lengths = CASES[name], TRL["lengths"]
    weigher = Weigher(learning.average, sum(lengths), len(lengths), TRL["longest"])

    def flat(rows):
        return [value for row, length in zip(rows, lengths, strict=True) for value in row[:length]]

    def repeated(values):
        return [value for value, length in zip(values, lengths, strict=True) for _ in range(length)]

    given = tokens(
        flat(TRL["logprob"]),
        flat(TRL["old_logprob"]),
        repeated(TRL["advantage"]),
        weight=repeated([weigher.weight(length) for length in lengths]),
        reference=flat(TRL["reference_logprob"]) if learning.kl else None,
        completion=repeated(range(len(lengths))),
    )
    expected = TRL["cases"][name]
    assert policy_loss(given, learning).loss.item() == pytest.approx(expected["loss"], abs=1e-6)
    assert gradient(given, learning) == pytest.approx(flat(expected["gradient"]), abs=1e-6)


LOGPROBS = st.lists(st.floats(-4.0, -0.01), min_size=6, max_size=6)


@given(LOGPROBS, LOGPROBS, st.lists(st.floats(-2.0, 2.0), min_size=2, max_size=2), st.floats(0.05, 0.9))
def test_with_equal_clips_scale_and_average_dapo_is_grpo(logprob, old, advantage, clip):
    same = {"clip_low": clip, "clip_high": clip, "advantage_scale": "group", "average": "completions"}
    drawn = tokens(logprob, old, [a for a in advantage for _ in range(3)], completion=[0, 0, 0, 1, 1, 1])
    losses = [policy_loss(drawn, config(name, **same)).loss.item() for name in ("dapo", "grpo")]
    assert losses[0] == losses[1]
    rewards = [[0.0, 1.0, 0.5], [1.0, 1.0, 0.0]]
    made = [ALGORITHMS[name].advantages(rewards, config(name, **same)) for name in ("dapo", "grpo")]
    assert made[0] == made[1]


@given(LOGPROBS, LOGPROBS, st.floats(-2.0, 2.0))
def test_for_completions_of_one_token_gspo_and_rloo_are_grpo_with_their_clips(logprob, old, advantage):
    drawn = tokens(logprob, old, [advantage] * 6, completion=list(range(6)))
    grpo = policy_loss(drawn, config("grpo", clip_low=0.1, clip_high=0.3)).loss.item()
    for name in ("gspo", "rloo"):
        same = policy_loss(drawn, config(name, clip_low=0.1, clip_high=0.3)).loss.item()
        assert same == pytest.approx(grpo, rel=1e-12, abs=1e-12)


def test_dapo_by_hand():
    ratios = [1.1, 1.5, 0.5, 1.0]
    given = tokens([math.log(r) for r in ratios], [0.0] * 4, [1.0, 1.0, -1.0, -2.0])
    made = policy_loss(given, config())
    # 1.1 * 1; 1.28 * 1 (clipped); -0.8 (clipped: min(-0.5, -0.8)); -2
    assert made.loss.item() == pytest.approx(-(1.1 + 1.28 - 0.8 - 2.0) / 4)
    assert made.clipped.item() == 2


def test_clipped_tokens_have_no_gradient_and_the_others_the_ratios():
    ratios = [1.1, 1.5, 0.5, 1.5]
    given = tokens([math.log(r) for r in ratios], [0.0] * 4, [1.0, 1.0, -1.0, -1.0])
    assert gradient(given, config()) == pytest.approx([-1.1 / 4, 0, 0, 1.5 / 4])


def test_the_dual_clip_bounds_what_a_bad_token_can_cost():
    given = tokens([math.log(r) for r in (5.0, 2.0, 5.0)], [0.0] * 3, [-1.0, -1.0, 1.0])
    made = policy_loss(given, config(dual_clip=3))
    assert made.loss.item() == pytest.approx((3 + 2 - 1.28) / 3)
    assert made.clipped.item() == 2
    assert gradient(given, config(dual_clip=3)) == pytest.approx([0, 2 / 3, 0])


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"rloo"}))
def test_on_policy_every_objective_has_reinforces_gradient(name):
    """Rloo's and gspo's too, if a completion has one token."""
    values = ([-0.3, -2.0, -1.0], [-0.3, -2.0, -1.0], [0.5, -1.0, 2.0])
    expected = gradient(tokens(*values, completion=[0, 1, 2]), config("reinforce"))
    assert gradient(tokens(*values, completion=[0, 1, 2]), config(name)) == pytest.approx(expected)


def test_cispo_caps_the_weight_but_keeps_the_gradient():
    given = tokens([math.log(3.0)], [0.0], [2.0])
    assert gradient(given, config("cispo", clip_high=0.28)) == pytest.approx([-1.28 * 2.0])


def test_cross_entropy_is_the_weighted_negative_log_probability():
    assert cross_entropy(torch.tensor([-1.0, -3.0]), torch.tensor([0.25, 0.75])).item() == pytest.approx(0.25 + 2.25)


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
    given = tokens([-1.0], [-1.0], [0.0], reference=[-0.5])
    assert gradient(given, config(kl=0.1))[0] < 0  # a step against it raises the log-probability


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_gradients_agree_with_finite_differences(name):
    learning = config(name, kl=0.05)
    base, old = [-0.31, -1.7, -0.9, -2.2], [-0.4, -1.65, -1.0, -2.0]
    advantage, weight, factor = [1.0, -0.5, 0.3, -2.0], [0.1, 0.2, 0.3, 0.4], [1.0, 0.7, 2.0, 1.3]
    rest = {"reference": [-0.5, -1.0, -1.1, -2.1], "completion": [0, 0, 1, 1]}
    made = gradient(tokens(base, old, advantage, weight, correction=factor, **rest), learning)
    if name == "cispo":  # its weight is a constant by definition: held here where the correction is, at the base
        factor = [f * min(math.exp(b - o), 5.0) for f, b, o in zip(factor, base, old, strict=True)]
        learning = config("reinforce", kl=0.05)
    step = 1e-6
    for i in range(len(base)):
        ends = []
        for sign in (1, -1):
            moved = [b + sign * step * (i == j) for j, b in enumerate(base)]
            given = tokens(moved, old, advantage, weight, correction=factor, **rest)
            ends.append(policy_loss(given, learning).loss.item())
        assert made[i] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)
