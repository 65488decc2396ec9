"""The packed batch with the prompt stored once per group, against the plain padded batch of stock transformers."""

from __future__ import annotations

import copy
import json
from typing import get_args

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.config import Architecture, PolicyConfig
from actors.policy.architecture import ModelRefused
from actors.policy.model import build
from actors.records import Completion, Rollout, RolloutGroup
from tests.tasks import ITEM
from trainers.config import LearningConfig
from trainers.learner.packed_policy import PackedPolicy, proved
from trainers.learner.packing import Document, pack, pack_documents
from trainers.records import Batch

POLICY = PolicyConfig(layers=3, hidden=48, ffn=64, heads=4, kv_heads=2, max_positions=128)
VOCAB = 90


def rollout(length: int, reward: float | None, seed: int, version: int = 0) -> Rollout:
    draw = torch.Generator().manual_seed(seed)
    ids = tuple(torch.randint(10, VOCAB, (length,), generator=draw).tolist())
    completion = Completion(0, ids, (-1.0,) * length, "stop", version, version)
    return Rollout(completion, "", None, reward, error=None if reward is not None else "broken")


def group(number: int, prompt: int, lengths: tuple[int, ...]) -> RolloutGroup:
    draw = torch.Generator().manual_seed(number)
    ids = tuple(torch.randint(10, VOCAB, (prompt,), generator=draw).tolist())
    rollouts = tuple(rollout(n, float(i % 3 == 0), 100 * number + i) for i, n in enumerate(lengths))
    return RolloutGroup(number, ITEM, ids, rollouts)


GROUPS = [group(0, 17, (5, 9, 1, 12)), group(1, 8, (3, 3, 7, 20)), group(2, 23, (6, 2, 11, 4))]


def packed_loss(model: PackedPolicy, batch: Batch) -> torch.Tensor:
    """REINFORCE over all streams, gradients accumulated."""
    total = torch.zeros(())
    for stream in batch.streams:
        logprob, _ = model(stream)
        loss = -(torch.tensor(stream.weight) * torch.tensor(stream.advantage) * logprob).sum()
        loss.backward()
        total += loss.detach()
    return total


def padded_loss(model, groups, weight_of) -> torch.Tensor:
    """The same, one row per completion: prompt, completion, padding."""
    total = torch.zeros(())
    for one in groups:
        mean = sum(r.reward for r in one.rollouts) / len(one.rollouts)
        rows = [torch.tensor(one.prompt_ids + r.completion.token_ids) for r in one.rollouts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(r) for r in rows], batch_first=True)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        logprobs = torch.log_softmax(logits.float(), -1)[:, :-1].gather(2, ids[:, 1:, None]).squeeze(2)
        for row, r in zip(logprobs, one.rollouts, strict=True):
            start, length = len(one.prompt_ids) - 1, len(r.completion.token_ids)
            total = total - weight_of(length) * (r.reward - mean) * row[start : start + length].sum()
    total.backward()
    return total.detach()


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters()}


def plain_model(variant: str) -> PreTrainedModel:
    """An architecture, and what its config changes: `llama attention_bias`, `qwen3 head_dim=32`."""
    architecture, *changes = variant.split()
    config = build(POLICY.model_copy(update={"architecture": architecture}), VOCAB, 0).config
    for change in changes:
        key, _, value = change.partition("=")
        setattr(config, key, json.loads(value) if value else True)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for p in model.parameters():  # norms and biases too: at their first values they would hide a mistake
            p.add_(0.1 * torch.randn_like(p))
    return model


VARIANTS = (
    *get_args(Architecture),
    *(f"{architecture} tie_word_embeddings=false" for architecture in get_args(Architecture)),
    "llama attention_bias",
    "llama num_key_value_heads=4",
    "llama mlp_bias head_dim=20",
    "qwen3 head_dim=32",
    "mistral head_dim=8",
    "olmo2 num_key_value_heads=1",
)
CASES = [
    *((variant, 100, "dapo") for variant in VARIANTS),
    *(("qwen2", budget, loss) for budget in (64, 100, 8192) for loss in ("dapo", "grpo", "dr_grpo")),
]


@pytest.mark.parametrize(("variant", "budget", "loss"), CASES)
def test_the_prompt_stored_once_gives_the_plain_batchs_loss_and_gradients(variant, budget, loss):
    plain = plain_model(variant)
    model = proved(copy.deepcopy(plain))
    config = LearningConfig(algorithm=loss, advantage_scale="none", microbatch_tokens=budget)
    tokens = sum(len(r.completion.token_ids) for g in GROUPS for r in g.rollouts)
    weight = {"dapo": lambda n: 1 / tokens, "grpo": lambda n: 1 / (12 * n), "dr_grpo": lambda n: 1 / (12 * 20)}[loss]
    batch = pack(GROUPS, config, 20)
    torch.testing.assert_close(packed_loss(model, batch), padded_loss(plain, GROUPS, weight), rtol=0, atol=1e-5)
    expected = gradients(plain)
    for name, gradient in gradients(model.policy).items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-5, msg=name)


def test_packing_computes_each_prompt_once():
    batch = pack(GROUPS, LearningConfig(), 20)
    prompts = sum(len(g.prompt_ids) for g in GROUPS)
    completions = sum(len(r.completion.token_ids) for g in GROUPS for r in g.rollouts)
    assert batch.tokens == prompts + completions
    assert len(batch.streams) == 1


def test_the_order_of_arrival_changes_nothing():
    one, two = pack(GROUPS, LearningConfig(), 20), pack(GROUPS[::-1], LearningConfig(), 20)
    assert one.streams[0].input_ids.tolist() == two.streams[0].input_ids.tolist()
    assert one.streams[0].advantage.tolist() == two.streams[0].advantage.tolist()


def test_minibatches_share_out_the_groups_and_each_has_its_own_denominator():
    batch = pack(GROUPS, LearningConfig(minibatches=2), 20)
    assert [sum(len(s.targets) for s in m) for m in batch.minibatches] == [27 + 33, 23]
    for minibatch in batch.minibatches:
        assert sum(s.weight.sum() for s in minibatch) == pytest.approx(1, abs=1e-5)


def test_a_rollout_without_a_reward_is_refused():
    broken = RolloutGroup(0, ITEM, (11, 12), (rollout(2, None, 0), rollout(3, 1.0, 1)))
    with pytest.raises(ValueError, match="broken"):
        pack([broken], LearningConfig(), 20)


@pytest.mark.parametrize("variant", get_args(Architecture))
def test_documents_never_see_one_another(variant):
    plain = plain_model(variant)
    model = PackedPolicy(copy.deepcopy(plain))
    documents = [Document(tuple(range(10 + i, 10 + i + n)), 1 + i % 3) for i, n in enumerate((5, 40, 17, 18, 33))]
    loss = torch.zeros(())
    for stream in pack_documents(documents, 64).streams:
        one = -(torch.tensor(stream.weight) * model(stream)[0]).sum()
        one.backward()
        loss += one.detach()
    total = sum(len(d.token_ids) - d.loss_from for d in documents)
    expected = torch.zeros(())
    for d in documents:
        ids = torch.tensor([d.token_ids])
        logprobs = torch.log_softmax(plain(input_ids=ids, use_cache=False).logits[0].float(), -1)[:-1]
        picked = logprobs.gather(1, ids[0, 1:, None]).squeeze(1)[d.loss_from - 1 :]
        one = -picked.sum() / total
        one.backward()
        expected += one.detach()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-5)
    grads = gradients(plain)
    for name, gradient in gradients(model.policy).items():
        torch.testing.assert_close(gradient, grads[name], rtol=0, atol=1e-5, msg=name)


def test_a_model_whose_packed_numbers_are_not_its_own_is_refused():
    model = plain_model("qwen2")

    def by_place(module: object, given: object, found: torch.Tensor) -> torch.Tensor:
        """As a model would that counts places itself: several texts in one stream have others than alone."""
        return found + 0.1 * torch.arange(found.shape[1])[None, :, None]

    model.get_input_embeddings().register_forward_hook(by_place)
    with pytest.raises(ModelRefused, match="this qwen2 model: packed, its log-probabilities are off by"):
        proved(model)
