"""Packing tensors into buckets; what needs Ray is in the engine's tests."""

from __future__ import annotations

import pytest
import torch

from actors.weights.object_store import _Packer as Packer
from actors.weights.object_store import _view as view


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
