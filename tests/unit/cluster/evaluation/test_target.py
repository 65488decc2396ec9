"""What a person names to be evaluated is found or refused before any model code is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import RunFolderError
from cluster.evaluation.target import Target, read_settings
from cluster.recipe.base import NoModel
from cluster.recipe.overrides import RecipeError
from verifier.errors import UserError


def test_a_run_that_got_nowhere_and_a_name_of_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "early" / "checkpoints").mkdir(parents=True)
    for name in ("early", "runs/early", str(tmp_path / "runs" / "early")):
        with pytest.raises(UserError, match="holds no good checkpoint"):
            Target.choose(name, None)
    with pytest.raises(RunFolderError, match="there is no run eraly"):
        Target.choose("eraly", None)
    with pytest.raises(NoModel, match="nothing is downloaded"):
        Target.choose("Qwen/Qwen3-0.6B", None)
    with pytest.raises(UserError, match="is not a run"):
        Target.choose(str(tmp_path), "rl-3")


def test_the_newest_checkpoint_of_a_shipped_base_is_what_its_folder_means(tmp_path: Path) -> None:
    from importlib import resources

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(Path(str(resources.files("cluster") / "bases" / "tiny-base")))
    found = Target.choose(str(tmp_path / "run"), None)
    assert (found.weight_version, found.directory.name, found.run) == (4500, "pretrain-4500", tmp_path / "run")


def test_problems_are_named_by_one_override_as_well_as_by_several() -> None:
    together = read_settings(None, None, ["task={ops: [2, 3], max_facts: 4}"])
    assert together == read_settings(None, None, ["task.ops=[2, 3]", "task.max_facts=4"])


def test_an_evaluation_on_a_gpu_that_ray_would_hide_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"fleet.rollout_gpus: engine.device cuda needs a GPU"):
        read_settings(None, None, ["task.ops=[2]", "engine.device=cuda"])
