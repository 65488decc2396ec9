from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch

from actors.config import PolicyConfig, TokenizerConfig
from actors.policy.checkpoint import CheckpointStore, Lineage
from actors.policy.model import build, load
from actors.policy.text_format import text_format
from actors.policy.tokenizer import EOS, build_tokenizer, decode_with_offsets
from trainers.budget import Spent
from trainers.config import OptimizerConfig, PretrainConfig, RejectionConfig, TextTraining
from trainers.learner.learner import Learner
from trainers.learner.packing import Document
from trainers.learner.process_group import form_group_of_one
from trainers.learner.skipped import NotFinite
from trainers.learner_group.commands import PretrainJob
from trainers.learner_group.rank import run_pretrain
from trainers.pretrain.documents import DocumentStream, gold_documents
from trainers.pretrain.items import training_items
from trainers.pretrain.pretrain import pretrain
from trainers.pretrain.rejection import Drawn
from trainers.records import Batch, StepReport
from verifier.families import config_of

TOKENIZER = build_tokenizer(TokenizerConfig(templates=("zoo",)))
TEXT = text_format(TOKENIZER)
POLICY = PolicyConfig(layers=2, hidden=32, ffn=48, heads=2, kv_heads=1, max_positions=512)
pytestmark = pytest.mark.timeout(120)
LINEAGE = Lineage(run="r", stage="pretrain", step=0, parent=None, seed=0)


TASK = config_of("graphs").model_validate({"ops": [2, 3], "max_facts": 4})


def stage(**changes) -> PretrainConfig:
    optimizer = OptimizerConfig(
        learning_rate=1e-2, schedule="cosine", warmup_steps=2, weight_decay=0.1, zero_stage=changes.pop("zero_stage", 1)
    )
    settings = {"steps": 6, "documents_per_step": 4, "checkpoint_every": 3, "report_every": 1, **changes}
    return PretrainConfig(
        task=TASK,
        microbatch_tokens=128,
        optimizer=optimizer,
        **settings,
    )


def learner_for(config: TextTraining) -> Learner:
    return Learner(build(POLICY, len(TOKENIZER), 0), TOKENIZER, config.learner_config())


def named_weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in learner.policy.named_parameters()}


@pytest.fixture(scope="module", autouse=True)
def process_group() -> None:
    form_group_of_one()


def never() -> bool:
    return False


def test_a_document_is_the_prompt_and_the_completion_as_rl_will_see_them():
    config = config_of("graphs").model_validate({"ops": [3], "max_facts": 6})
    problem = next(training_items(config, 5))
    (document,) = gold_documents([problem], TEXT, "solution")
    prompt, _ = decode_with_offsets(TOKENIZER, document.token_ids[: document.loss_from])
    rest, _ = decode_with_offsets(TOKENIZER, document.token_ids[document.loss_from :])
    assert prompt.endswith("</question> <solution>")
    assert rest.startswith(" Define ")
    assert rest.endswith("</answer>[EOS]")
    assert document.token_ids[-1] == EOS
    assert gold_documents([problem], TEXT, "all")[0].loss_from == 1


def test_batches_are_a_function_of_seed_and_step():
    config = stage()
    one, two = DocumentStream(config, TEXT, 1), DocumentStream(config, TEXT, 1)
    one.batch(0)
    same = zip(one.batch(3).streams, two.batch(3).streams, strict=True)
    assert all((a.input_ids == b.input_ids).all() for a, b in same)
    other = DocumentStream(config, TEXT, 2).batch(3)
    assert other.streams[0].input_ids.tolist() != two.batch(3).streams[0].input_ids.tolist()


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_a_killed_and_resumed_stage_ends_with_the_straight_ones_bits(tmp_path, zero_stage):
    config = stage(zero_stage=zero_stage)
    straight = learner_for(config)
    job = PretrainJob(config, LINEAGE, tmp_path / "straight", 7)
    whole = run_pretrain(job, straight, lambda p: None, never)

    job = PretrainJob(config, LINEAGE, tmp_path / "broken", 7)
    first = learner_for(config)
    run_pretrain(job, first, lambda p: None, lambda: first.steps == 3)
    second = learner_for(config)
    resumed = run_pretrain(job, second, lambda p: None, never)
    assert (resumed.step, resumed.tokens, resumed.flops) == (whole.step, whole.tokens, whole.flops)
    store = [CheckpointStore(tmp_path / name) for name in ("straight", "broken")]
    last = [s.get("pretrain-6") for s in store]
    assert last[0].weight_hash == last[1].weight_hash
    loaded = load(store[0].path("pretrain-6"))
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


@pytest.mark.parametrize("unit", ["flops", "paper_tokens"])
def test_a_stage_ends_with_the_step_that_reaches_its_budget_also_when_it_is_resumed(tmp_path, unit):
    told = []
    pretrain(learner_for(stage()), DocumentStream(stage(), TEXT, 7), stage(), told.append, lambda p: None)
    amount = getattr(told[4], unit) - 1  # the fifth step goes beyond
    config = stage(steps=None, **{unit: amount})

    seen = []
    job = PretrainJob(config, LINEAGE, tmp_path / "straight", 7)
    whole = run_pretrain(job, learner_for(config), seen.append, never)
    assert (whole.step, whole.steps) == (5, 5)
    assert amount < getattr(whole, unit) == getattr(told[4], unit)
    assert seen[4].learning_rate == config.optimizer.rate_at(4, None, getattr(seen[3], unit) / amount)

    job = PretrainJob(config, LINEAGE, tmp_path / "broken", 7)
    first, second = learner_for(config), learner_for(config)
    run_pretrain(job, first, lambda p: None, lambda: first.steps == 2)
    assert run_pretrain(job, second, lambda p: None, never).spent == whole.spent
    ends = [CheckpointStore(tmp_path / name).get("pretrain-5").weight_hash for name in ("straight", "broken")]
    assert ends[0] == ends[1]


def test_a_rejection_stage_counts_its_drawing_first_and_resumes_to_the_same_bits(tmp_path):
    documents = tuple(Document((1, 2, *range(20, 24 + n), 3), 2) for n in range(6))
    drawn = Drawn(documents, 12, Spent(flops=1e9, paper_tokens=40.0))
    settings: dict[str, Any] = {
        "task": TASK,
        "prompts": 3,
        "max_tokens": 8,
        "documents_per_step": 4,
        "checkpoint_every": 1,
    }
    by_steps = RejectionConfig(steps=1, **settings)
    told = []
    job = PretrainJob(by_steps, LINEAGE, tmp_path / "one", 7, drawn)
    run_pretrain(job, learner_for(by_steps), told.append, never)
    step = told[0].flops - 1e9
    assert 0 < step < 1e9
    assert told[0].paper_tokens == 40.0 + told[0].tokens

    config = RejectionConfig(flops=1e9 + 2.5 * step, **settings)
    whole = run_pretrain(
        PretrainJob(config, LINEAGE, tmp_path / "straight", 7, drawn), learner_for(config), lambda p: None, never
    )
    assert whole.step == 3
    job = PretrainJob(config, LINEAGE, tmp_path / "broken", 7, drawn)
    first, second = learner_for(config), learner_for(config)
    run_pretrain(job, first, lambda p: None, lambda: first.steps == 1)
    assert run_pretrain(job, second, lambda p: None, never).spent == whole.spent
    ends = [CheckpointStore(tmp_path / name).get("pretrain-3").weight_hash for name in ("straight", "broken")]
    assert ends[0] == ends[1]


def test_older_checkpoints_that_cannot_be_deleted_cost_nothing(tmp_path, monkeypatch):
    def busy(*_: object) -> None:
        raise OSError("a reader has it open")

    monkeypatch.setattr(CheckpointStore, "retain", busy)
    config = stage(checkpoint_every=1)
    run_pretrain(PretrainJob(config, LINEAGE, tmp_path, 7), learner_for(config), lambda p: None, never)
    assert len(CheckpointStore(tmp_path).list()) == 6


def test_every_zero_stage_trains_the_same():
    ends = []
    for zero_stage in (0, 1, 2, 3):
        config = stage(zero_stage=zero_stage, steps=3, checkpoint_every=3)
        learner = learner_for(config)
        pretrain(learner, DocumentStream(config, TEXT, 0), config, lambda p: None, lambda p: None)
        with learner.gathered():
            ends.append(named_weights(learner))
    for other in ends[1:]:
        for name, weight in other.items():
            # The gradient of a key bias is rounding noise (softmax ignores it), which Adam makes steps of.
            if not name.endswith("k_proj.bias"):
                torch.testing.assert_close(weight, ends[0][name], rtol=0, atol=1e-4, msg=name)  # of steps of 1e-2


def test_progress_tells_tokens_and_what_is_left():
    config = stage(steps=2, checkpoint_every=2)
    told = []
    learner = learner_for(config)
    pretrain(learner, DocumentStream(config, TEXT, 0), config, told.append, lambda p: None)
    assert [p.step for p in told] == [1, 2]
    assert told[1].tokens > told[0].tokens > 0
    assert told[1].eta_s == 0
    assert told[0].loss > told[1].loss > 0


class Counting:
    """A learner and its data: the loss of a step is its number; it costs 10 FLOPs."""

    steps = 0

    def batch(self, step: int) -> Batch:
        return Batch(())

    def step(self, batch: Batch) -> StepReport:
        self.steps += 1
        numbers: dict[str, Any] = {field.name: 0 for field in fields(StepReport)}
        return StepReport(**numbers | {"loss": float(self.steps), "tokens": 10, "flops": 10.0, "logprobs": None})


def test_a_report_is_of_all_steps_since_the_last_one_whatever_was_saved_between_them():
    config = stage(steps=20, report_every=10, checkpoint_every=8)
    told, saved, counting = [], [], Counting()
    end = pretrain(counting, counting, config, told.append, saved.append)
    assert [(p.step, p.loss) for p in told] == [(10, 5.5), (20, 15.5)]
    assert [p.step for p in saved] == [8, 16, 20]
    assert end == told[-1]


def test_asked_to_stop_between_two_reports_it_tells_of_the_steps_since_the_last():
    config = stage(steps=20, report_every=10, checkpoint_every=8)
    told, counting = [], Counting()
    pretrain(counting, counting, config, told.append, lambda p: None, stop=lambda: counting.steps == 13)
    assert [(p.step, p.loss) for p in told] == [(10, 5.5), (13, 12.0)]
    spent = told[-1].spent
    pretrain(counting, counting, config, told.append, lambda p: None, spent=spent)
    assert [(p.step, p.loss) for p in told[2:]] == [(20, 17.0)]
    pretrain(counting, counting, config, told.append, lambda p: None, spent=told[-1].spent)
    assert len(told) == 3


def test_what_was_spent_before_the_first_step_is_no_step_of_the_estimate():
    config, drawn = stage(steps=None, flops=1000), Spent(flops=500.0)
    told, counting = [], Counting()
    pretrain(counting, counting, config, told.append, lambda p: None, spent=drawn)
    assert {p.steps for p in told} == {50}
    assert told[-1].step == 50


def test_a_stage_whose_gradients_are_never_finite_stops():
    config = stage(steps=50)
    learner = learner_for(config)
    with torch.no_grad():
        learner.policy.model.norm.weight.fill_(float("inf"))
    with pytest.raises(NotFinite, match="in a row"):
        pretrain(learner, DocumentStream(config, TEXT, 0), config, lambda p: None, lambda p: None)
