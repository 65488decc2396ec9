"""What a resumed run may change of its recipe, and how what it may not is named."""

from __future__ import annotations

import pytest

from cluster.recipe.identity import refused
from cluster.recipe.load import load

RECIPE = load("smoke")
STEPS = next(s.rl.steps for s in RECIPE.stages if s.kind == "rl") or 0


@pytest.mark.parametrize(
    "override",
    [
        f"stages.rl.rl.steps={STEPS + 5}",
        "stages.rl.rl.checkpoint_every=7",
        "stages.rl.rl.keep_last=2",
        "stages.pretrain.train.report_every=3",
        "fleet.rollout_workers=3",
        "learner.threads=3",
        "trackers=[tensorboard]",
        "description=Longer",
    ],
)
def test_what_bears_no_identity_may_change(override: str) -> None:
    assert refused(RECIPE, load("smoke", [override]), done=()) == []


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed=1", "seed: 0 -> 1"),
        ("stages.rl.rl.learning.kl_estimator=k2", "stages.rl.rl.learning.kl_estimator: k3 -> k2"),
        (f"stages.rl.rl.steps={STEPS - 1}", f"stages.rl.rl.steps: {STEPS} -> {STEPS - 1} (steps can only be added)"),
        ("stages.rl.rl.learning.optimizer.betas=[0.8, 0.9]", "betas: [0.9, 0.95] -> [0.8, 0.9]"),
        ("engine.dtype=bfloat16", "engine.dtype: float32 -> bfloat16"),
    ],
)
def test_anything_else_is_refused_with_its_key_as_one_types_it_and_both_values(override: str, line: str) -> None:
    (said,) = refused(RECIPE, load("smoke", [override]), done=())
    assert said.endswith(line)
    assert override.startswith(said.partition(":")[0] + "=")


def test_the_policy_bears_identity_only_where_a_model_is_built_from_it() -> None:
    assert refused(load("tiny-cpu"), load("tiny-cpu", ["policy.layers=9"]), done=()) == []
    assert refused(RECIPE, load("smoke", ["policy.layers=9"]), done=()) == ["policy.layers: 2 -> 9"]


def test_a_stage_whose_learning_rate_follows_a_course_over_its_steps_cannot_be_lengthened() -> None:
    cosine = "stages.rl.rl.learning.optimizer.schedule=cosine"
    (said,) = refused(load("smoke", [cosine]), load("smoke", [cosine, f"stages.rl.rl.steps={STEPS + 1}"]), done=())
    assert said == f"stages.rl.rl.steps: {STEPS} -> {STEPS + 1} (the cosine schedule is laid out over the steps)"


def test_a_run_whose_groups_are_drawn_ahead_by_fixed_versions_cannot_be_lengthened() -> None:
    ahead = ["stages.rl.rl.order=deterministic", "stages.rl.rl.learning.correction.weights=none"]
    longer = f"stages.rl.rl.steps={STEPS + 1}"
    assert refused(load("smoke", ahead), load("smoke", [*ahead, longer]), done=()) == []
    ahead.append("stages.rl.rl.max_staleness=1")
    (said,) = refused(load("smoke", ahead), load("smoke", [*ahead, longer]), done=())
    assert said.startswith(f"stages.rl.rl.steps: {STEPS} -> {STEPS + 1} (with order deterministic")


def test_a_budget_of_flops_can_be_raised_and_its_unit_stays() -> None:
    by_flops = ["stages.rl.rl.steps=null", "stages.rl.rl.flops=1e10"]
    started = load("smoke", by_flops)
    assert refused(started, load("smoke", [*by_flops, "stages.rl.rl.flops=2e10"]), done=()) == []
    (less,) = refused(started, load("smoke", [*by_flops, "stages.rl.rl.flops=1e9"]), done=())
    assert less.endswith("(flops can only be added)")
    assert len(refused(started, RECIPE, done=())) == 2


def test_supervised_stages_can_be_lengthened_too() -> None:
    sizes = "documents_per_step: 4, checkpoint_every: 1, task: {ops: [2]}, optimizer: {learning_rate: 1e-4}"
    stage = f"stages.rl={{name: rl, kind: sft, sft: {{steps: 2, {sizes}}}}}"
    assert refused(load("smoke", [stage]), load("smoke", [stage, "stages.rl.sft.steps=4"]), done=()) == []


def test_nothing_of_a_stage_that_is_done_can_change() -> None:
    changed = load("smoke", [f"stages.rl.rl.steps={STEPS + 5}", "stages.rl.rl.keep_last=2"])
    assert refused(RECIPE, changed, done=("rl",)) == [
        f"stages.rl.rl.steps: {STEPS} -> {STEPS + 5} (the stage is done)",
        "stages.rl.rl.keep_last: 20 -> 2 (the stage is done)",
    ]


def test_stages_that_come_or_go_are_named() -> None:
    fewer = RECIPE.model_copy(update={"stages": RECIPE.stages[:-1]})
    names = [stage.name for stage in RECIPE.stages]
    assert refused(RECIPE, fewer, done=()) == [f"stages: {', '.join(names)} -> {', '.join(names[:-1])}"]
