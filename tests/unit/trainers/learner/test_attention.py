"""Attention by ranges against attention by padded tables, and which kernel is taken where."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from actors.records import Completion, Rollout, RolloutGroup
from tests.tasks import ITEM
from trainers.config import LearningConfig
from trainers.learner.attention import Layout, RangedLayout, TabledLayout, kernel_of, layout_of, ranged, tabled
from trainers.learner.packing import Document, pack, pack_documents
from trainers.learner.ranges import ranges_of
from trainers.records import Stream

CPU = torch.device("cpu")
HEADS, WIDTH = 4, 8


def group(number: int, prompt: int, lengths: tuple[int, ...]) -> RolloutGroup:
    completions = [Completion(i, (5,) * n, (-1.0,) * n, "stop", 0, 0) for i, n in enumerate(lengths)]
    rollouts = tuple(Rollout(c, "", None, float(c.index)) for c in completions)
    return RolloutGroup(number, ITEM, (7,) * prompt, rollouts)


def of_groups() -> Stream:
    (stream,) = pack([group(0, 3, (2, 4, 1)), group(1, 5, (6, 1))], LearningConfig(), 16).streams
    return stream


def of_documents() -> Stream:
    (stream,) = pack_documents([Document((9,) * n, 1) for n in (21, 3, 40, 4)], 1000).streams
    return stream


def by_segments(
    q: Tensor, k: Tensor, v: Tensor, query_starts: Tensor, key_starts: Tensor, longest_q: int, longest_k: int, **how
) -> Tensor:
    """torch's `varlen_attn` in plain torch: a segment after the other, the causal mask aligned to the last key."""
    assert how["window_size"] == (-1, 0)
    outputs = []
    for (a, b), (c, d) in zip(pairwise(query_starts.tolist()), pairwise(key_starts.tolist()), strict=True):
        assert b - a <= longest_q
        assert d - c <= longest_k
        asked, (seen, values) = q[a:b], (x[c:d].repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        scores = torch.einsum("qhw,khw->hqk", asked, seen) * (how["scale"] or q.shape[2] ** -0.5)
        hidden = torch.ones(b - a, d - c).triu(d - c - (b - a) + 1).bool()
        outputs.append(torch.einsum("hqk,khw->qhw", scores.masked_fill(hidden, -torch.inf).softmax(-1), values))
    return torch.cat(outputs)


def attended(layout: Layout, stream: Stream, kv_heads: int) -> list[Tensor]:
    """The outputs and the gradients of queries, keys and values."""
    draw = torch.Generator().manual_seed(0)
    shapes = [(1, heads, stream.tokens, WIDTH) for heads in (HEADS, kv_heads, kv_heads)]
    q, k, v = (torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in shapes)
    out = layout.attend(q, k, v, 0.3)
    out.backward(torch.randn(out.shape, generator=draw, dtype=torch.float64))
    assert q.grad is not None
    assert k.grad is not None
    assert v.grad is not None
    return [out.detach(), q.grad, k.grad, v.grad]


@pytest.mark.parametrize("kv_heads", [HEADS, 2])
@pytest.mark.parametrize("made", [of_groups, of_documents])
def test_ranges_attend_as_padded_tables_do(made, kv_heads):
    stream = made()
    ends = [attended(layout, stream, kv_heads) for layout in (tabled(stream, CPU), ranged(stream, CPU, by_segments))]
    for expected, got in zip(*ends, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_each_completion_sees_its_prompt_and_itself():
    found = ranges_of(of_groups())
    assert found.query_starts.tolist() == [0, 3, 5, 9, 10, 15, 21, 22]
    assert np.diff(found.key_starts).tolist() == [3, 3 + 2, 3 + 4, 3 + 1, 5, 5 + 6, 5 + 1]
    assert found.keys[found.key_starts[5] : found.key_starts[6]].tolist() == [*range(10, 15), *range(15, 21)]
    assert (found.longest_queries, found.longest_keys) == (6, 11)


def test_documents_are_their_own_keys_and_need_no_gathering():
    stream = of_documents()
    assert ranges_of(stream).keys.tolist() == list(range(stream.tokens))
    assert ranged(stream, CPU).keys is None
    assert ranged(of_groups(), CPU).keys is not None


@pytest.mark.parametrize(
    ("device", "dtype", "kernel"),
    [
        ("cpu", torch.float32, "tables"),
        ("cpu", torch.bfloat16, "tables"),
        ("cuda", torch.float32, "tables"),
        ("cuda", torch.bfloat16, "varlen"),
        ("cuda", torch.float16, "varlen"),
    ],
)
def test_16_bit_numbers_on_cuda_take_ranges_and_all_else_takes_tables(device, dtype, kernel):
    assert kernel_of(torch.device(device), dtype) == kernel


def test_the_layout_is_that_of_the_kernel():
    assert isinstance(layout_of(of_groups(), CPU, torch.bfloat16), TabledLayout)
    assert isinstance(ranged(of_groups(), CPU), RangedLayout)
