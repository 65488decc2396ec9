from __future__ import annotations

import copy
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from actors.policy.model import PolicyConfig, build
from actors.policy.tokenizer import TokenizerConfig, build_tokenizer
from actors.records import Completion, Rollout, RolloutGroup
from tests.tasks import ITEM
from trainers.config import LearnerConfig, LearningConfig, OptimizerConfig
from trainers.learner.learner import Learner
from trainers.learner.optimizer_state import ResumeError
from trainers.learner.packing import Document, pack, pack_documents
from trainers.learner.process_group import backend_of, form_group_of_one
from trainers.records import Batch

pytestmark = pytest.mark.timeout(120)
TOKENIZER = build_tokenizer(TokenizerConfig(templates=("zoo",)))
POLICY = PolicyConfig(layers=2, hidden=32, ffn=48, heads=2, kv_heads=1, max_positions=128)
RATE = OptimizerConfig(learning_rate=1e-2)


@pytest.fixture(scope="module", autouse=True)
def process_group() -> None:
    form_group_of_one()


def learner_for(config: LearningConfig, steps: int = 10) -> Learner:
    policy = build(POLICY, len(TOKENIZER), 0)
    reference = copy.deepcopy(policy) if config.kl else None
    return Learner(policy, TOKENIZER, config.learner_config(steps), reference)


def groups(learner: Learner, version: int = 0, shift: float = 0.0, temperature: float = 1.0) -> list[RolloutGroup]:
    """Three groups whose behaviour log-probabilities are the learner's own plus `shift`."""
    made = []
    draw = np.random.default_rng(5)
    for number in range(3):
        prompt = tuple(draw.integers(10, 200, 9).tolist())
        rollouts = []
        for index in range(4):
            ids = tuple(draw.integers(10, 200, 3 + index).tolist())
            with torch.no_grad():
                logits = learner.policy(input_ids=torch.tensor([prompt + ids]), use_cache=False).logits[0]
            own = torch.log_softmax(logits / temperature, -1)[len(prompt) - 1 : -1].gather(
                1, torch.tensor(ids)[:, None]
            )
            logprobs = tuple((own.squeeze(1) + shift).tolist())
            completion = Completion(index, ids, logprobs, "stop", version, version)
            rollouts.append(Rollout(completion, "", None, float(index == number)))
        made.append(RolloutGroup(number, ITEM, prompt, tuple(rollouts)))
    return made


def weights(learner: Learner) -> list[torch.Tensor]:
    return [p.detach().clone() for p in learner.policy.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_same_batch_gives_the_same_bits():
    config = LearningConfig(optimizer=RATE)
    ends = []
    for _ in range(2):
        learner = learner_for(config)
        batch = pack(groups(learner), config, 16)
        reports = [learner.step(batch) for _ in range(3)]
        ends.append((weights(learner), [r.loss for r in reports]))
    assert same(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_a_step_raises_what_was_rewarded():
    config = LearningConfig(optimizer=RATE, algorithm="reinforce")
    learner = learner_for(config)
    batch = pack(groups(learner), config, 16)
    before = learner.step(batch)
    after = [learner.step(batch) for _ in range(4)][-1]
    assert after.loss < before.loss
    assert before.mismatch_max < 1e-5
    assert before.gradient_norm > 0
    assert (before.tokens, before.predicted, before.skipped) == (batch.tokens, 54, 0)
    assert before.flops > 6 * 54 * 10_000


def test_microbatches_do_not_change_the_step():
    ends = []
    for budget in (64, 8192):
        config = LearningConfig(optimizer=RATE, microbatch_tokens=budget)
        learner = learner_for(config)
        learner.step(pack(groups(learner), config, 16))
        ends.append(weights(learner))
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-2 * RATE.learning_rate)


def broken(batch: Batch) -> Batch:
    (stream,) = batch.streams
    advantage = stream.advantage.copy()
    advantage[0] = np.nan
    return Batch(((replace(stream, advantage=advantage),),))


@pytest.mark.parametrize("zero_stage", [0, 1, 2])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(zero_stage):
    config = LearningConfig(optimizer=RATE.model_copy(update={"zero_stage": zero_stage}))
    learner, straight = learner_for(config), learner_for(config)
    batch = pack(groups(learner), config, 16)
    before = weights(learner)
    assert learner.step(broken(batch)).skipped == 1
    assert same(before, weights(learner))
    assert learner.step(batch).skipped == 0
    straight.step(batch)
    assert same(weights(straight), weights(learner))


def test_several_minibatches_measure_against_the_policy_before_the_step():
    config = LearningConfig(optimizer=RATE, minibatches=3, clip_low=0.01, clip_high=0.01)
    learner = learner_for(config)
    report = learner.step(pack(groups(learner), config, 16))
    assert report.clip_fraction > 0  # the second update already sees ratios other than 1
    assert report.mismatch_max < 1e-5  # but the comparison with the sampler is with the old ones


def test_only_older_tokens_are_corrected_in_float32():
    config = LearningConfig(optimizer=RATE)
    ends = []
    for version, shift in ((3, 0.0), (3, 0.5), (2, 0.5)):
        learner = learner_for(config)
        learner.weight_version = 3
        report = learner.step(pack(groups(learner, version, shift), config, 16))
        ends.append((weights(learner), report))
    assert same(ends[0][0], ends[1][0])
    assert ends[1][1].mismatch_mean == pytest.approx(0.5, abs=1e-4)
    assert ends[2][1].gradient_norm < 0.7 * ends[0][1].gradient_norm


def test_the_penalty_keeps_the_policy_near_its_reference():
    ends = []
    for kl in (1e-6, 10.0):
        config = LearningConfig(optimizer=RATE, kl=kl)
        learner = learner_for(config)
        batch = pack(groups(learner), config, 16)
        reports = [learner.step(batch) for _ in range(4)]
        ends.append(reports)
    assert ends[0][0].kl == pytest.approx(0, abs=1e-6)
    assert ends[1][-1].kl < ends[0][-1].kl


def test_a_penalty_without_a_reference_is_refused():
    config = LearningConfig(kl=0.1)
    with pytest.raises(ValueError, match="reference"):
        Learner(build(POLICY, len(TOKENIZER), 0), TOKENIZER, config.learner_config(1))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_was_saved_is_continued_to_the_bit(tmp_path, precision):
    config = LearningConfig(optimizer=RATE.model_copy(update={"precision": precision}))
    straight = learner_for(config)
    batch = pack(groups(straight), config, 16)
    straight.step(batch)
    straight.save(tmp_path)
    resumed = learner_for(config)
    resumed.load(tmp_path)
    reports = [learner.step(batch) for learner in (straight, resumed)]
    assert same(weights(straight), weights(resumed))
    assert reports[0].loss == reports[1].loss
    assert resumed.steps == 2


def test_a_directory_without_an_optimiser_cannot_be_resumed(tmp_path):
    learner = learner_for(LearningConfig())
    learner.save(tmp_path)
    (tmp_path / "resume" / "optimizer-0.safetensors").unlink()
    with pytest.raises(ResumeError, match="no optimiser"):
        learner.load(tmp_path)


def test_bfloat16_starts_from_the_same_loss():
    losses = []
    for precision in ("float32", "bfloat16"):
        config = LearningConfig(optimizer=RATE.model_copy(update={"precision": precision}), algorithm="reinforce")
        learner = learner_for(config)
        reference = learner_for(LearningConfig())
        report = learner.step(pack(groups(reference), config, 16))
        losses.append(report.loss)
        assert report.mismatch_max < 0.2
    assert losses[1] == pytest.approx(losses[0], abs=0.05)


def first_moments(precision: Literal["float32", "bfloat16"], microbatch_tokens: int) -> torch.Tensor:
    """AdamW's means of the gradients after one step on 28 texts: the gradient itself, in float32."""
    adam = OptimizerConfig(learning_rate=1e-2, gradient_norm=1e9, precision=precision)
    learner = Learner(build(POLICY, len(TOKENIZER), 0), TOKENIZER, LearnerConfig(adam, 10))
    draw = np.random.default_rng(0)
    texts = [Document(tuple(draw.integers(10, 200, 20).tolist()), 1) for _ in range(28)]
    learner.step(pack_documents(texts, microbatch_tokens))
    states = learner.optimizer.state
    return torch.cat([states[p]["exp_avg"] for group in learner.optimizer.param_groups for p in group["params"]])


def test_gradients_of_bfloat16_microbatches_add_up_in_float32():
    exact, many, one = first_moments("float32", 20), first_moments("bfloat16", 20), first_moments("bfloat16", 1000)
    rounding = (one[: len(exact)] - exact).norm()
    assert (many[: len(exact)] - exact).norm() < 1.08 * rounding  # in bfloat16 1.17 times


def test_the_reference_computes_in_the_learners_dtype():
    config = LearningConfig(optimizer=RATE.model_copy(update={"precision": "bfloat16"}), kl=0.1)
    learner = learner_for(config)
    assert learner.reference is not None
    assert learner.reference.policy.dtype == torch.bfloat16
    assert learner.step(pack(groups(learner), config, 16)).kl == 0


@pytest.mark.parametrize(("accelerator", "backend"), [("cuda", "nccl"), ("cpu", "gloo")])
def test_a_group_on_gpus_speaks_nccl(accelerator, backend):
    assert backend_of(accelerator) == backend


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_log_probabilities_are_those_at_the_sampling_temperature(temperature):
    config = LearningConfig(optimizer=RATE)
    policy = build(POLICY, len(TOKENIZER), 0)
    learner = Learner(policy, TOKENIZER, config.learner_config(10, temperature))
    plain = groups(learner)
    tempered = groups(learner, temperature=temperature)
    assert learner.step(pack(tempered, config, 16)).mismatch_max < 1e-5
    if temperature != 1.0:
        other = Learner(build(POLICY, len(TOKENIZER), 0), TOKENIZER, config.learner_config(10, temperature))
        assert other.step(pack(plain, config, 16)).mismatch_max > 1e-3


def test_a_coarser_engine_is_corrected_at_staleness_0_too():
    reports = {}
    for dtype in ("float32", "bfloat16"):
        config = LearningConfig(optimizer=RATE)
        learner = Learner(build(POLICY, len(TOKENIZER), 0), TOKENIZER, config.learner_config(10, 1.0, dtype))
        reports[dtype] = learner.step(pack(groups(learner, shift=0.5), config, 16))
    assert reports["bfloat16"].gradient_norm < 0.7 * reports["float32"].gradient_norm


def test_a_step_tells_how_old_its_tokens_are_and_what_the_weights_leave():
    correction = {"weights": "token", "weight_high": 1.2, "mask": "geometric", "mask_high": 1.5}
    config = LearningConfig.model_validate({"optimizer": RATE, "correction": correction})
    learner = learner_for(config)
    learner.weight_version = 3
    report = learner.step(pack(groups(learner, 1, shift=-0.3), config, 16))
    assert (report.lag_mean, report.capped_share, report.masked_share) == (2.0, 1.0, 0.0)
    assert report.effective_share == pytest.approx(1.0)
    other = learner_for(config)
    report = other.step(pack(groups(other, -1, shift=-0.6), config, 16))
    assert report.masked_share == 1.0


def test_a_bypass_takes_the_ratio_from_the_engine():
    correction = {"old_policy": "bypass", "weights": "none"}
    clipped = {}
    for name, given in (("bypass", correction), ("decoupled", {})):
        config = LearningConfig.model_validate({"optimizer": RATE, "correction": given})
        learner = learner_for(config)
        clipped[name] = learner.step(pack(groups(learner, shift=-0.5), config, 16)).clip_fraction
    assert clipped["bypass"] > 0.1
    assert clipped["decoupled"] == 0


@pytest.mark.parametrize("minibatches", [1, 2])
def test_a_step_tells_the_log_probabilities_of_the_policy_before_it(minibatches):
    config = LearningConfig(optimizer=RATE, minibatches=minibatches, microbatch_tokens=64)
    learner = learner_for(config)
    drawn = groups(learner)
    report = learner.step(pack(drawn, config, 8))
    assert report.logprobs is not None
    before = np.concatenate([rollout.completion.logprobs for group in drawn for rollout in group.rollouts])
    np.testing.assert_allclose(report.logprobs, before, atol=1e-5)
