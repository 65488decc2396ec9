"""Packing, the arithmetic of parity and the layout check; what needs Ray is in the engine's tests."""

from __future__ import annotations

import math

import pytest
import torch

from actors.weights.parity import ParityReference, max_abs_diff, parity_reference, parity_tokens
from actors.weights.version import TensorPlace, WeightsRefused, WeightVersion, check_layout, weight_hash
from actors.weights.version import _Packer as Packer
from actors.weights.version import _view as view
from tests.tiny import VOCAB, tiny_model

REFERENCE = ParityReference((1, 2, 3), (-1.0, -2.0))


def version_with(*places: tuple[str, tuple[int, ...]]) -> WeightVersion:
    tensors = tuple(TensorPlace(name, "float32", shape, 0, 0, 0) for name, shape in places)
    return WeightVersion(1, tensors, (), "", REFERENCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tensors_of_any_type_and_shape_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    tensors = {"a": torch.randn(3, 5).to(dtype), "b": torch.randn(7).to(dtype), "c": torch.randn(2, 3).t().to(dtype)}
    packer = Packer()
    for name, tensor in tensors.items():
        packer.add(name, tensor)
    arrays, places, _ = packer.finish()
    for place in places:
        assert place.offset % 64 == 0
        assert torch.equal(view(arrays[place.bucket], place), tensors[place.name])


def test_the_hash_tells_values_names_and_types_apart() -> None:
    def digest(name: str, tensor: torch.Tensor) -> str:
        packer = Packer()
        packer.add(name, tensor)
        return packer.finish()[2]

    zeros = torch.zeros(4)
    digests = {
        digest("a", zeros),
        digest("b", zeros),
        digest("a", zeros + 1),
        digest("a", zeros.view(2, 2)),
        digest("a", zeros.half()),
    }
    assert len(digests) == 5
    assert digest("a", zeros) == digest("a", torch.zeros(4))
    assert weight_hash([]) == weight_hash([])


def test_a_layout_that_differs_is_refused_with_the_names() -> None:
    expected = {"a": (2, 3), "b": (4,)}
    check_layout(version_with(("a", (2, 3)), ("b", (4,))), expected)
    with pytest.raises(WeightsRefused, match=r"missing \['b'\]"):
        check_layout(version_with(("a", (2, 3))), expected)
    with pytest.raises(WeightsRefused, match=r"unknown \['c'\]"):
        check_layout(version_with(("a", (2, 3)), ("b", (4,)), ("c", (1,))), expected)
    with pytest.raises(WeightsRefused, match=r"other shape \['a'\]"):
        check_layout(version_with(("a", (3, 2)), ("b", (4,))), expected)


def test_the_probe_is_the_same_every_time_and_inside_the_vocabulary() -> None:
    assert parity_tokens(VOCAB) == parity_tokens(VOCAB)
    assert all(0 <= token < VOCAB for token in parity_tokens(VOCAB))


def test_the_learners_probe_leaves_its_model_as_it_was() -> None:
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
