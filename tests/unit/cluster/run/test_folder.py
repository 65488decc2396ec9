"""A run folder holds one run of one recipe, from its first work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.recipe.load import load
from cluster.run.folder import RunFolder, RunFolderError, find_run, is_run
from trainers.evaluation.evaluate import Evaluation
from trainers.evaluation.ledger import StageRecord
from trainers.evaluation.unfinished import unfinished_path

RECIPE = load("smoke")
OTHER = load("smoke", ["seed=1"])


def test_a_run_that_was_refused_before_it_worked_can_be_asked_for_otherwise(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open(RECIPE, resume=False)  # and then the machine was too small, say
    folder.open(OTHER, resume=False)
    assert folder.recipe() == OTHER


def test_a_run_that_worked_is_resumed_with_its_own_recipe_or_not_at_all(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open(RECIPE, resume=True)
    folder.finish(StageRecord("tokenizer", "tokenizer", 0.1))
    with pytest.raises(RunFolderError, match="holds a run already"):
        folder.open(RECIPE, resume=False)
    with pytest.raises(RunFolderError, match="another recipe: seed: 0 -> 1"):
        folder.open(OTHER, resume=True)
    folder.open(RECIPE, resume=True)
    assert folder.recipe() == RECIPE


def test_a_run_goes_on_with_more_steps_and_its_folder_says_so(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open(RECIPE, resume=False)
    folder.finish(StageRecord("tokenizer", "tokenizer", 0.1))
    longer = load("smoke", ["stages.rl.rl.steps=99"])
    folder.open(longer, resume=True)
    assert folder.recipe() == longer


def test_a_stage_that_is_done_is_not_lengthened(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open(RECIPE, resume=False)
    folder.finish(StageRecord("rl", "rl", 0.1))
    with pytest.raises(RunFolderError, match=r"steps: \d+ -> 99 \(the stage is done\)"):
        folder.open(load("smoke", ["stages.rl.rl.steps=99"]), resume=True)
    assert folder.recipe() == RECIPE


def test_a_run_is_found_by_its_folder_or_by_its_name_in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "first" / "checkpoints").mkdir(parents=True)
    found = find_run("first")
    assert (found.name, found.path) == ("first", tmp_path / "runs" / "first")
    assert find_run("runs/first").path == find_run(str(found.path)).path == found.path
    assert is_run("first")
    assert not is_run("runs")
    with pytest.raises(RunFolderError, match="there is no run frist") as refused:
        find_run("frist")
    assert "did you mean first?" in refused.value.fix


def test_what_an_evaluation_had_measured_is_removed_once_it_is_saved(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    unfinished = unfinished_path(folder.path, "before")
    unfinished.parent.mkdir()
    unfinished.write_text("{}")
    folder.save_evaluation("before", Evaluation("base-0", 1.0, 0, 0.0, 0.0, (), ()))
    assert folder.evaluation("before") is not None
    assert not unfinished.exists()
