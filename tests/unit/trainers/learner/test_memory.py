"""The memory of a rank by arithmetic: what a token keeps against torch, and what the knobs do."""

from __future__ import annotations

import pytest
import torch

from actors.config import PolicyConfig
from actors.policy.model import build, in_dtype
from actors.policy.size import size_of_policy
from trainers.config import OptimizerConfig
from trainers.learner.memory import kept_per_token, learner_memory
from trainers.learner.packed_policy import PackedPolicy
from trainers.learner.packing import Document, pack_documents

GIB = 1024**3
PAPER = size_of_policy(PolicyConfig(layers=12, hidden=768, ffn=3072, heads=12, kv_heads=2), 2200)
ADAM = OptimizerConfig(learning_rate=1e-4, precision="bfloat16")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_token_keeps_what_autograd_keeps_of_it(dtype: torch.dtype) -> None:
    """Of the layers alone: the difference between two depths."""
    kept = []
    for layers in (2, 4):
        config = PolicyConfig(layers=layers, hidden=96, ffn=384, heads=6, kv_heads=2)
        model = PackedPolicy(in_dtype(build(config, 60, 0), dtype))
        own = {p.data_ptr() for p in model.parameters()}
        (stream,) = pack_documents([Document((7,) * 64, 1) for _ in range(4)], 256).streams
        sizes: dict[int, int] = {}

        def note(x: torch.Tensor, own: set[int] = own, sizes: dict[int, int] = sizes) -> torch.Tensor:
            storage = x.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            output = model(stream)
        kept.append(sum(sizes.values()) / 256)
        del output
    size = size_of_policy(PolicyConfig(layers=2, hidden=96, ffn=384, heads=6, kv_heads=2), 60)
    assert kept[1] - kept[0] == pytest.approx(kept_per_token(size, dtype.itemsize), rel=0.15)


def test_the_papers_model_keeps_what_was_measured() -> None:
    assert kept_per_token(PAPER, 2) == pytest.approx(571_000, rel=0.03)


def test_a_microbatch_of_32k_tokens_of_the_papers_model_fits_24_gib() -> None:
    assert learner_memory(PAPER, ADAM, 32_768, 1, kl=True).total < 24 * GIB


def test_states_are_split_over_the_ranks() -> None:
    one, four = (learner_memory(PAPER, ADAM, 1024, ranks, kl=False) for ranks in (1, 4))
    assert one.optimizer == 12 * PAPER.parameters
    assert four.optimizer == 3 * PAPER.parameters
    assert four.weights == one.weights
    split = ADAM.model_copy(update={"zero_stage": 3})
    assert learner_memory(PAPER, split, 1024, 4, kl=False).weights == one.weights // 4


def test_logits_of_a_large_vocabulary_come_in_pieces() -> None:
    size = size_of_policy(PolicyConfig(), 150_000)
    few, many = (learner_memory(size, ADAM, tokens, 1, kl=False).logits for tokens in (1024, 65_536))
    assert few == many < 3 * GIB


def test_a_reference_costs_its_weights() -> None:
    assert learner_memory(PAPER, ADAM, 1024, 1, kl=True).reference == 2 * PAPER.parameters
    assert learner_memory(PAPER, ADAM, 1024, 1, kl=False).reference == 0
