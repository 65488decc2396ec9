"""Log-probabilities in pieces against the plain log-softmax of all logits: values, gradients, and what is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from actors.config import PolicyConfig
from actors.policy.model import build
from trainers.learner.packed_policy import PackedPolicy
from trainers.learner.packing import Document, pack_documents
from trainers.learner.target_logprobs import target_logprobs

TOKENS, WIDTH, VOCAB = 37, 12, 53


def given(dtype: torch.dtype, bias: bool) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
    """Hidden states, weight, bias, targets, and a gradient for each target."""
    draw = torch.Generator().manual_seed(1)
    hidden, weight, grad = (
        (0.3 * torch.randn(shape, generator=draw, dtype=torch.float64)).to(dtype)
        for shape in ((TOKENS, WIDTH), (VOCAB, WIDTH), (TOKENS,))
    )
    shift = (0.3 * torch.randn(VOCAB, generator=draw, dtype=torch.float64)).to(dtype) if bias else None
    targets = torch.randint(VOCAB, (TOKENS,), generator=draw)
    leaves = [x.requires_grad_() if x is not None else None for x in (hidden, weight, shift)]
    assert leaves[0] is not None
    assert leaves[1] is not None
    return leaves[0], leaves[1], leaves[2], targets, grad


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, temperature: float):
    logprobs = torch.log_softmax(torch.nn.functional.linear(hidden, weight, bias) / temperature, -1)
    return logprobs.gather(1, targets[:, None]).squeeze(1), -(logprobs.exp() * logprobs).sum(-1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("most_logits", [1, 5 * VOCAB, 10**6])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_pieces_give_the_plain_values_and_gradients(dtype, apart, most_logits, bias):
    ends = []
    for whole in (True, False):
        hidden, weight, shift, targets, grad = given(dtype, bias)
        asked = hidden, weight, shift, targets, 0.7
        logprob, entropy = plain(*asked) if whole else target_logprobs(*asked, most_logits)
        logprob.backward(grad)
        ends.append([logprob, entropy, *(x.grad for x in (hidden, weight, shift) if x is not None)])
    for expected, got in zip(*ends, strict=True):
        torch.testing.assert_close(got, expected, rtol=apart, atol=apart)


def test_entropies_have_no_gradient():
    hidden, weight, _, targets, _ = given(torch.float32, False)
    assert not target_logprobs(hidden, weight, None, targets, 1.0, VOCAB)[1].requires_grad


def test_gradients_come_back_in_the_dtype_of_what_they_belong_to():
    hidden, weight, shift, targets, grad = given(torch.bfloat16, True)
    logprob, _ = target_logprobs(hidden, weight, shift, targets, 1.0, VOCAB)
    assert logprob.dtype == torch.float32
    logprob.backward(grad.float())
    assert {x.grad.dtype for x in (hidden, weight, shift) if x is not None and x.grad is not None} == {torch.bfloat16}


@pytest.mark.parametrize("most_logits", [500, 10**6])
def test_in_pieces_no_logits_of_all_tokens_wait_for_the_backward_pass(most_logits):
    """And the policy's gradients are those of the whole computation."""
    vocab, texts = 800, [Document(tuple(range(start, start + 60)), 1) for start in (20, 90, 200)]
    (stream,) = pack_documents(texts, 1000).streams
    model = PackedPolicy(
        build(PolicyConfig(layers=1, hidden=16, ffn=24, heads=2, kv_heads=1), vocab, 0), most_logits=most_logits
    )
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        logprob, _ = model(stream)
    logprob.sum().backward()
    assert (max(kept) < len(stream.targets) * vocab) == (most_logits == 500)
    other = PackedPolicy(build(PolicyConfig(layers=1, hidden=16, ffn=24, heads=2, kv_heads=1), vocab, 0))
    other(stream)[0].sum().backward()
    for got, expected in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=0, atol=1e-4)
