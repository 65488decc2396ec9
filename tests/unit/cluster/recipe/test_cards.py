"""What a recipe needs of a GPU's memory, and the refusal of one that does not fit."""

from __future__ import annotations

import pytest

from cluster.errors import NotEnough
from cluster.recipe.cards import card_plans, require_cards, require_shares, table
from cluster.recipe.load import faults_in, load, tree_of
from verifier.errors import UserError

GIB = 1024**3
H100 = 79 * GIB


@pytest.mark.parametrize("name", ["gpu-13m", "gpu-100m"])
def test_learner_and_engine_share_one_card_and_half_of_it_is_left(name: str) -> None:
    (plan,) = card_plans(load(name))
    assert [process.name for process in plan.processes] == ["learner", "rollout worker"]
    assert plan.needed < H100 / 2
    require_cards(load(name), H100)


def test_the_papers_recipe_has_a_card_for_each_process() -> None:
    learner, worker = card_plans(load("paper-100m"))
    assert [p.name for p in learner.processes] == ["learner"]
    assert [(p.name, p.count) for p in worker.processes] == [("rollout worker", 1)]
    assert max(learner.needed, worker.needed) < H100


def test_a_cpu_recipe_needs_no_card() -> None:
    assert card_plans(load("smoke")) == ()
    require_cards(load("smoke"), 1)


def test_a_recipe_that_does_not_fit_is_refused_with_the_table_and_the_keys() -> None:
    recipe = load("gpu-100m", ["stages.rl.rl.learning.microbatch_tokens=262144", "engine.kv_cache_mib=16384"])
    with pytest.raises(NotEnough) as refused:
        require_cards(recipe, H100)
    lines = [line.split() for line in str(refused.value).splitlines()]
    assert ["cache", "16.00", "engine.kv_cache_mib"] in lines
    assert [line[-1] for line in lines if line[:1] == ["activations"]] == ["stages.rl.rl.learning.microbatch_tokens"]
    needed, there, left = (next(float(line[-1]) for line in lines if name in line) for name in
                           ("needed", "there", "headroom"))  # fmt: skip
    assert there == 79.0
    assert left == pytest.approx(there - needed, abs=0.02)
    assert left < 0


def test_workers_that_ray_may_put_on_one_card_are_counted_together() -> None:
    three = load("gpu-13m", ["fleet.rollout_workers=3", "fleet.rollout_gpus=0.2"])
    (plan,) = card_plans(three)
    assert [process.count for process in plan.processes] == [1, 2]
    assert "2 x rollout worker" in table(three, None)


def test_the_stage_that_needs_the_most_counts() -> None:
    (plan,) = card_plans(load("gpu-13m", ["stages.pretrain.train.microbatch_tokens=131072"]))
    assert plan.processes[0].learning == "stages.pretrain.train"


def test_ranks_that_would_share_a_gpu_are_refused() -> None:
    (line,) = faults_in(tree_of("gpu-13m", ["learner.workers=2"]))
    assert line.startswith("learner.gpus: each of the 2 ranks needs a whole GPU: NCCL cannot put two ranks on one")
    assert faults_in(tree_of("gpu-13m", ["learner.workers=2", "learner.gpus=1"])) == []


def test_processes_that_share_a_model_need_a_gpu_each() -> None:
    (line,) = faults_in(tree_of("gpu-13m", ["engine.tensor_parallel=2"]))
    assert line.startswith("fleet.rollout_gpus: the 2 processes of an engine (engine.tensor_parallel) need a GPU each")
    shared = load("gpu-13m", ["engine.tensor_parallel=2", "fleet.rollout_gpus=2"])
    learner, worker = card_plans(shared)
    assert [process.name for process in (*learner.processes, *worker.processes)] == ["learner", "rollout worker"]


@pytest.mark.parametrize(("heads", "kv_heads", "processes"), [(4, 4, 3), (6, 3, 2), (4, 4, 8)])
def test_processes_that_cannot_share_a_model_evenly_are_refused(heads: int, kv_heads: int, processes: int) -> None:
    policy = [f"policy.heads={heads}", f"policy.kv_heads={kv_heads}", f"policy.hidden={heads * 32}"]
    recipe = load("smoke", [f"engine.tensor_parallel={processes}", *policy])
    with pytest.raises(UserError, match=rf"stage \w+, with {heads} heads, {kv_heads} of them .* {processes} processes"):
        require_shares(recipe)


@pytest.mark.parametrize(("kv_heads", "processes"), [(4, 1), (4, 2), (4, 4), (2, 4), (1, 2)])
def test_heads_of_keys_and_values_may_be_held_twice(kv_heads: int, processes: int) -> None:
    require_shares(
        load("smoke", [f"engine.tensor_parallel={processes}", "policy.heads=4", f"policy.kv_heads={kv_heads}"])
    )


def test_a_card_without_bfloat16_is_refused_with_the_keys_that_ask_for_it() -> None:
    with pytest.raises(NotEnough, match=r"engine.dtype, stages.pretrain.train.optimizer.precision, stages.rl.rl.learn"):
        require_cards(load("gpu-13m"), H100, bfloat16=False)
    keys = ("engine.dtype", "stages.pretrain.train.optimizer.precision", "stages.rl.rl.learning.optimizer.precision")
    require_cards(load("gpu-13m", [f"{key}=float32" for key in keys]), H100, bfloat16=False)
    require_cards(load("smoke"), H100, bfloat16=False)


def test_an_engine_on_a_gpu_that_ray_would_hide_is_refused() -> None:
    (line,) = faults_in(tree_of("gpu-13m", ["fleet.rollout_gpus=0"]))
    assert line.startswith("fleet.rollout_gpus: engine.device cuda needs a GPU")
