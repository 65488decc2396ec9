"""The parity tokens, and the largest difference between two scorings of them."""

from __future__ import annotations

import math

from actors.weights.parity import ParityReference, max_abs_diff, parity_reference, parity_tokens
from tests.tiny import VOCAB, tiny_model

REFERENCE = ParityReference((1, 2, 3), (-1.0, -2.0))


def test_the_parity_tokens_are_the_same_every_time_and_inside_the_vocabulary() -> None:
    assert parity_tokens(VOCAB) == parity_tokens(VOCAB)
    assert all(0 <= token < VOCAB for token in parity_tokens(VOCAB))


def test_scoring_the_parity_tokens_leaves_the_model_as_it_was() -> None:
    model = tiny_model(0)
    model.train()
    reference = parity_reference(model)
    assert model.training
    assert len(reference.logprobs) == len(reference.token_ids) - 1
    assert all(lp < 0 for lp in reference.logprobs)


def test_parity_sees_a_difference_a_gap_and_nonsense() -> None:
    assert max_abs_diff(REFERENCE, [-1.0, -2.0]) == 0.0
    assert max_abs_diff(REFERENCE, [-1.0, -2.5]) == 0.5
    assert max_abs_diff(REFERENCE, [-1.0]) == math.inf
    assert max_abs_diff(REFERENCE, [math.nan, -2.0]) == math.inf
    assert max_abs_diff(REFERENCE, [-1.0, math.nan]) == math.inf
    assert max_abs_diff(REFERENCE, [-1.0, -math.inf]) == math.inf
