from __future__ import annotations

import math

import pytest
import torch

from trainers.algorithms.corrections import correction
from trainers.config import CorrectionConfig

LOG_RATIO = torch.tensor([0.1, 1.0, -0.5, -0.7])
COMPLETION = torch.tensor([0, 0, 1, 1])
ALL = torch.ones(4, dtype=torch.bool)


def made(differs=ALL, **fields):
    return correction(LOG_RATIO, COMPLETION, differs, CorrectionConfig(**fields))


def test_token_weights_are_capped_on_both_sides():
    done = made(weight_low=0.6, weight_high=2.0)
    assert done.factor.tolist() == pytest.approx([math.exp(0.1), 2.0, math.exp(-0.5), 0.6])
    assert done.capped.tolist() == [False, True, False, True]


def test_a_token_of_the_same_policy_has_a_weight_of_exactly_one():
    done = made(torch.tensor([False, True, False, True]))
    assert done.factor.tolist()[::2] == [1.0, 1.0]
    assert done.factor[3].item() == pytest.approx(math.exp(-0.7))


def test_a_sequence_weight_is_the_product_of_its_tokens():
    done = made(weights="sequence", weight_high=5.0)
    assert done.factor.tolist() == pytest.approx([math.exp(1.1)] * 2 + [math.exp(-1.2)] * 2)


@pytest.mark.parametrize(
    ("mask", "low", "high", "kept"),
    [
        ("token", 0.55, 2.0, [True, False, True, False]),
        ("token", None, 2.0, [True, False, True, True]),
        ("sequence", 0.35, 4.0, [True, True, False, False]),
        ("geometric", 0.54, 1.7, [False, False, True, True]),
    ],
)
def test_masks_leave_out_what_is_outside_their_bounds(mask, low, high, kept):
    done = made(weights="none", mask=mask, mask_low=low, mask_high=high)
    assert done.factor.tolist() == [float(k) for k in kept]
    assert done.masked.tolist() == [not k for k in kept]
