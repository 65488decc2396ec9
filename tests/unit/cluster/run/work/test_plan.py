"""The plan says how many steps a budget is, close to what the stage will count, and refuses one of less than a step."""

from __future__ import annotations

import pytest

from cluster.recipe.load import load
from cluster.recipe.overrides import RecipeError
from cluster.run.work.plan import plans

BY_FLOPS = ["stages.rl.rl.steps=null", "stages.pretrain.train.steps=null"]


def test_a_recipe_in_steps_needs_no_plan():
    assert list(plans(load("smoke"))) == []


def test_every_budget_that_is_not_steps_is_planned():
    budgets = ["stages.pretrain.train.paper_tokens=1e5", "stages.rl.rl.flops=1e11"]
    pretrain, rl = plans(load("smoke", [*BY_FLOPS, *budgets]))
    assert (pretrain.stage, rl.stage) == ("pretrain", "rl")
    assert 32 * 60 < pretrain.step.paper_tokens < 32 * 160  # documents of some 100 tokens
    assert rl.step.paper_tokens == pytest.approx(5 / 3 * 8 * 4 * 76)
    forward = 2 * (2 * (4 * 64 * 64 + 3 * 64 * 128))  # of the two layers alone, per token
    assert 3 * forward * rl.step.tokens < rl.step.flops < 3 * 3 * forward * rl.step.tokens
    assert str(pretrain).startswith("1e+05 paper_tokens: about ")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("stages.pretrain.train.flops=1e6", "stages.pretrain.train.flops: 1e"),
        ("stages.rl.rl.paper_tokens=10", "stages.rl.rl.paper_tokens: 10 is no more than one step"),
    ],
)
def test_a_budget_smaller_than_a_step_is_refused_with_its_key(override, key):
    _, section, *_ = override.split(".")
    steps = f"stages.{section}.{'rl' if section == 'rl' else 'train'}.steps=null"
    with pytest.raises(RecipeError, match=key):
        list(plans(load("smoke", [steps, override])))


SIZES = "steps: null, documents_per_step: 4, checkpoint_every: 1, task: {ops: [2], max_facts: 4}"


def test_the_drawing_of_a_rejection_stage_is_planned_before_its_steps():
    stage = f"{{name: rl, kind: rejection, rejection: {{{SIZES}, flops: 1e11, prompts: 100, max_tokens: 80}}}}"
    (plan,) = plans(load("smoke", [f"stages.rl={stage}"]))
    assert 0 < plan.step.flops < plan.drawing.flops < 1e11
    assert plan.drawing.paper_tokens > plan.step.paper_tokens
    with pytest.raises(RecipeError, match=r"rl.rejection.flops: .* no more than one step and the drawing"):
        list(plans(load("smoke", [f"stages.rl={stage}", f"stages.rl.rejection.flops={plan.drawing.flops}"])))


def test_a_shipped_base_is_planned_with_its_own_tokenizer():
    (rl,) = plans(load("tiny-cpu", ["stages.rl.rl.steps=null", "stages.rl.rl.flops=1e13"]))
    assert 48 * 8 * 30 < rl.step.tokens < 48 * (8 * 160 + 200)
