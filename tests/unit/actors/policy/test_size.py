"""Sizes by arithmetic against the parameters of real models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from actors.config import Architecture, PolicyConfig
from actors.policy.architecture import ModelRefused
from actors.policy.model import build
from actors.policy.size import size_of_directory, size_of_policy

POLICY = PolicyConfig(layers=3, hidden=64, ffn=160, heads=4, kv_heads=2)


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_the_matrices_of_a_model_are_counted_to_a_hundredth(architecture: Architecture) -> None:
    config = POLICY.model_copy(update={"architecture": architecture})
    made = sum(p.numel() for p in build(config, 300, 0).parameters())
    assert made == pytest.approx(size_of_policy(config, 300).parameters, rel=0.02)


@pytest.mark.parametrize("tied", [True, False])
def test_a_directory_gives_the_size_that_was_built(tmp_path: Path, tied: bool) -> None:
    model = build(POLICY, 300, 0)
    model.config.tie_word_embeddings = tied
    model.config.save_pretrained(tmp_path)
    size = size_of_directory(tmp_path)
    assert size.parameters == size_of_policy(POLICY, 300).parameters + (0 if tied else 300 * 64)
    assert size.kv_heads * size.head_width == 2 * 16


def test_a_file_without_sizes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    with pytest.raises(ModelRefused, match="sizes of a decoder"):
        size_of_directory(tmp_path)
