"""The parity tokens, how far two scorings of them are apart, and how far they may be."""

from __future__ import annotations

import math

import pytest
import torch

from actors.policy.model import architecture, build, in_dtype
from actors.weights.parity import (
    Disagreement,
    Numerics,
    ParityReference,
    disagreement,
    parity_reference,
    parity_tokens,
    tolerance,
)
from tests.tiny import POLICY, VOCAB, tiny_model

REFERENCE = ParityReference((1, 2, 3), (-1.0, -2.0))


def test_the_parity_tokens_are_the_same_every_time_and_inside_the_vocabulary() -> None:
    config = architecture(POLICY, VOCAB)
    assert parity_tokens(config) == parity_tokens(config)
    assert all(0 <= token < VOCAB for token in parity_tokens(config))


@pytest.mark.parametrize(("positions", "tokens"), [(16, 15), (64, 63), (65, 64), (512, 64)])
def test_an_engine_takes_the_parity_tokens_and_has_room_for_one_more(positions, tokens) -> None:
    model = build(POLICY.model_copy(update={"max_positions": positions}), VOCAB, 0)
    assert len(parity_reference(model).token_ids) == tokens


def test_scoring_the_parity_tokens_leaves_the_model_as_it_was() -> None:
    model = tiny_model(0)
    model.train()
    reference = parity_reference(model)
    assert model.training
    assert len(reference.logprobs) == len(reference.token_ids) - 1
    assert all(lp < 0 for lp in reference.logprobs)


def test_a_reference_says_what_it_was_computed_on_and_in() -> None:
    assert parity_reference(tiny_model(0)).numerics == Numerics("cpu", "float32")
    assert parity_reference(in_dtype(tiny_model(0), torch.bfloat16)).numerics == Numerics("cpu", "bfloat16")


def test_parity_sees_a_difference_a_gap_and_nonsense() -> None:
    assert disagreement(REFERENCE, [-1.0, -2.0]) == Disagreement(0.0, 0.0)
    assert disagreement(REFERENCE, [-1.0, -2.5]) == Disagreement(0.25, 0.5)
    for nonsense in ([-1.0], [math.nan, -2.0], [-1.0, math.nan], [-1.0, -math.inf]):
        assert disagreement(REFERENCE, nonsense) == Disagreement(math.inf, math.inf)


@pytest.mark.parametrize(
    ("one", "other", "largest"),
    [
        (("cpu", "float32"), ("cpu", "float32"), 1e-4),
        (("cuda", "float32"), ("cpu", "float32"), 0.02),
        (("cpu", "float32"), ("cuda", "float32"), 0.02),
        (("cuda", "bfloat16"), ("cuda", "bfloat16"), 0.3),
        (("cpu", "float32"), ("cuda", "bfloat16"), 0.3),
        (("cuda", "bfloat16"), ("cuda", "float32"), 0.3),
    ],
)
def test_the_coarser_of_two_computations_says_how_far_they_may_be_apart(one, other, largest) -> None:
    assert tolerance(Numerics(*one), Numerics(*other)).largest == largest


def test_a_few_tokens_far_off_are_rounding_and_all_of_them_are_not() -> None:
    allowed = tolerance(Numerics("cuda", "bfloat16"), Numerics("cuda", "bfloat16"))
    assert Disagreement(0.01, 0.25).within(allowed)
    assert not Disagreement(0.2, 0.25).within(allowed)
    assert not Disagreement(0.01, 0.5).within(allowed)
    assert not Disagreement(math.nan, 0.0).within(allowed)
