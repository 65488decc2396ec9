"""The cost of a plan's stages: as measured, as a budget says, or by the cost of a text of the same kind of stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.recipe.overrides import RecipeError
from cluster.study.command import conduct
from cluster.study.costs import Cost, costs
from cluster.study.folder import Registration, StudyFolder
from cluster.study.plan import Member
from tests.studies import leave, little

BUDGET = ("stages.rl.rl.steps=null", "stages.rl.rl.flops=1e11")


def in_flops(*overrides: str) -> Registration:
    """The little study with RL stages of 1e11 FLOPs each."""
    given = little(seeds=1)
    study = given.study.model_copy(update={"equal": "flops"})
    return given.model_copy(update={"study": study, "overrides": (*BUDGET, *overrides)})


def of_rl(folder: StudyFolder, given: Registration) -> dict[str, Cost]:
    """The costs of the RL stages by run."""
    return {cost.run.name: cost for cost in costs(folder, given.plan().runs) if cost.stage.kind == "rl"}


def test_a_budget_says_about_its_texts_tokens_and_flops_and_a_measured_stage_the_seconds(tmp_path: Path):
    given, folder = in_flops(), StudyFolder(tmp_path / "little")
    rl = of_rl(folder, given)["arm1/0"]
    assert rl.texts % (8 * 4) == 0
    assert rl.texts * 20 < (rl.tokens or 0) < rl.texts * 160
    assert rl.flops == pytest.approx(1e11, rel=0.1)
    assert rl.seconds is None, "no RL stage was run"
    leave(folder, given.plan(), Member("arm0", 0), 0.5)
    done, left = of_rl(folder, given).values()
    assert (done.done, done.tokens, done.seconds) == (True, 1000, 1.5)
    assert (left.done, left.tokens) == (False, rl.tokens), "the budget is nearer than the cost of another arm's texts"
    assert left.seconds == pytest.approx(1.5)


def test_a_budget_below_a_step_is_refused_with_its_key(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"stages.rl.rl.flops: 1000 is no more than one step"):
        costs(StudyFolder(tmp_path), in_flops("stages.rl.rl.flops=1e3").plan().runs)


def test_a_study_with_a_budget_below_a_step_starts_nothing(tmp_path: Path):
    given, folder = in_flops("stages.rl.rl.flops=1e3"), StudyFolder(tmp_path / "little")
    with pytest.raises(RecipeError, match=r"stages.rl.rl.flops: 1000 is no more than one step"):
        conduct(folder, given, given.plan().runs, resume=False, address=None, insecure=False, wait_s=0)
    assert not folder.exists()
