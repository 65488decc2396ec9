"""The layout check of a published version."""

from __future__ import annotations

import pytest

from actors.weights.parity import ParityReference
from actors.weights.version import TensorPlace, WeightsRefused, WeightVersion, check_layout


def version_with(*places: tuple[str, tuple[int, ...]]) -> WeightVersion:
    tensors = tuple(TensorPlace(name, "float32", shape, 0, 0, 0) for name, shape in places)
    return WeightVersion(1, tensors, (), "", ParityReference((1, 2), (-1.0,)))


def test_a_layout_that_differs_is_refused_with_the_names() -> None:
    expected = {"a": (2, 3), "b": (4,)}
    check_layout(version_with(("a", (2, 3)), ("b", (4,))), expected)
    with pytest.raises(WeightsRefused, match=r"missing \['b'\]"):
        check_layout(version_with(("a", (2, 3))), expected)
    with pytest.raises(WeightsRefused, match=r"unknown \['c'\]"):
        check_layout(version_with(("a", (2, 3)), ("b", (4,)), ("c", (1,))), expected)
    with pytest.raises(WeightsRefused, match=r"other shape \['a'\]"):
        check_layout(version_with(("a", (3, 2)), ("b", (4,))), expected)
