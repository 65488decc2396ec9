"""The learner on a GPU: its attention kernel, its numbers against the CPU's, and its memory."""

from __future__ import annotations

import random

import pytest
import torch

from actors.config import PolicyConfig
from actors.policy.model import build, in_dtype
from actors.policy.size import size_of_policy
from actors.policy.tokenizer import TokenizerConfig, build_tokenizer
from actors.records import Completion, Rollout, RolloutGroup
from tests.tasks import ITEM
from trainers.config import LearnerConfig, LearningConfig, OptimizerConfig
from trainers.learner.attention import ranged, tabled
from trainers.learner.memory import learner_memory
from trainers.learner.packed_policy import PackedPolicy
from trainers.learner.packing import Document, pack, pack_documents

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]
PAPER = PolicyConfig(layers=12, hidden=768, ffn=3072, heads=12, kv_heads=2, max_positions=2048)
ADAM = OptimizerConfig(learning_rate=1e-4, precision="bfloat16")


def groups(count: int, prompt: int, longest: int, vocab: int) -> list[RolloutGroup]:
    draw = random.Random(0)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(draw.randrange(vocab) for _ in range(length))

    made = []
    for number in range(count):
        texts = [ids(draw.randrange(1, longest)) for _ in range(6)]
        completions = [Completion(i, text, (-6.0,) * len(text), "stop", 0, 0) for i, text in enumerate(texts)]
        rollouts = tuple(Rollout(c, "", None, float(c.index % 2)) for c in completions)
        made.append(RolloutGroup(number, ITEM, ids(prompt), rollouts))
    return made


@pytest.mark.parametrize("kv_heads", [12, 2])
def test_the_kernel_of_ranges_attends_as_padded_tables_do(kv_heads: int) -> None:
    (stream,) = pack(groups(4, 164, 300, 2000), LearningConfig(microbatch_tokens=100_000), 1024).streams
    cuda = torch.device("cuda")
    draw = torch.Generator("cuda").manual_seed(0)
    ends = []
    for layout, dtype in ((tabled(stream, cuda), torch.float32), (ranged(stream, cuda), torch.bfloat16)):
        draw.manual_seed(0)
        shapes = [(1, heads, stream.tokens, 64) for heads in (12, kv_heads, kv_heads)]
        q, k, v = (torch.randn(s, generator=draw, device=cuda).bfloat16().to(dtype).requires_grad_() for s in shapes)
        out = layout.attend(q, k, v, None)
        out.float().square().sum().backward()
        ends.append([x.float() for x in (out, q.grad, k.grad, v.grad) if x is not None])
    for exact, got in zip(*ends, strict=True):
        assert ((got - exact).norm() / exact.norm()).item() < 0.02


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-3), (torch.bfloat16, 0.1)])
def test_the_gpu_gives_the_log_probabilities_of_the_cpu(dtype: torch.dtype, apart: float) -> None:
    (stream,) = pack(groups(2, 40, 60, 2000), LearningConfig(), 1024).streams
    with torch.no_grad():
        exact, _ = PackedPolicy(build(PAPER, 2200, 0))(stream)
        got, _ = PackedPolicy(in_dtype(build(PAPER, 2200, 0), dtype)).cuda()(stream)
    assert (got.cpu() - exact).abs().max().item() < apart


@pytest.fixture(scope="module")
def learner():
    from trainers.learner.learner import Learner
    from trainers.learner.process_group import form_group_of_one

    form_group_of_one()
    config = LearnerConfig(ADAM, 10)
    return Learner(build(PAPER, 2200, 0), build_tokenizer(TokenizerConfig()), config)


def test_a_step_of_32k_tokens_fits_what_the_arithmetic_says(learner) -> None:
    draw = random.Random(0)
    texts = [Document(tuple(draw.randrange(2000) for _ in range(512)), 1) for _ in range(64)]
    batch = pack_documents(texts, 32_768)
    learner.step(batch)
    torch.cuda.reset_peak_memory_stats()
    report = learner.step(batch)
    assert report.skipped == 0
    size = size_of_policy(PAPER, 2200)
    assert torch.cuda.max_memory_allocated() < learner_memory(size, ADAM, 32_768, 1, kl=False).total < 24 * 1024**3


def test_a_learner_on_a_gpu_publishes_where_its_numbers_come_from(learner) -> None:
    assert (learner._parity().numerics.device, learner._parity().numerics.dtype) == ("cuda", "bfloat16")
