"""A run folder holds one run of one recipe, from its first work on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actors.policy.checkpoint import Lineage
from cluster.commands.models.export import main as export
from cluster.commands.runs.run import main as run
from cluster.errors import RunFolderError
from cluster.recipe.base import BASES, adopt, missing_bases
from cluster.recipe.load import dump, load
from cluster.run.folder import RunFolder, find_run, is_run
from cluster.run.lock import RunHeld, held
from cluster.study.load import StudyError
from trainers.evaluation.evaluate import Evaluation
from trainers.evaluation.ledger import StageRecord
from trainers.evaluation.unfinished import unfinished_path
from verifier.errors import UserError

RECIPE = load("smoke")
OTHER = load("smoke", ["seed=1"])


def test_a_run_that_was_refused_before_it_worked_can_be_asked_for_otherwise(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open(RECIPE, resume=False)  # and then the machine was too small, say
    folder.open(OTHER, resume=False)
    assert folder.recipe() == OTHER


def test_a_recipe_that_a_person_wrote_is_not_replaced(tmp_path: Path) -> None:
    own = tmp_path / "recipe.yaml"
    for text in (f"# why 3e-4\n{dump(RECIPE)}", "name: [", "\xff"):
        own.write_text(text, encoding="latin-1")
        with pytest.raises(RunFolderError, match=r"recipe\.yaml is not from a run"):
            RunFolder(tmp_path).open(RECIPE, resume=False)
        assert own.read_text(encoding="latin-1") == text


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
    with pytest.raises(RunFolderError, match="there is no run aaa") as refused:
        find_run("a" * 300)
    assert refused.value.fix.endswith("runs here: first")
    assert not is_run("a" * 300)


def test_a_run_that_has_copied_its_base_goes_on_without_it(tmp_path: Path) -> None:
    base = Path(shutil.copytree(BASES / "tiny-base", tmp_path / "bases"))
    file, folder = tmp_path / "mine.yaml", RunFolder(tmp_path / "run")
    file.write_text(f"{{name: mine, stages: [{{kind: base, base: {next(base.iterdir())}}}, {{kind: report}}]}}")
    recipe = load(str(file))
    assert folder.at_hand(recipe) == recipe
    folder.open(recipe, resume=False)
    adopt(
        recipe.model_dump()["stages"][0]["base"],
        folder.store,
        Lineage(run="mine", stage="base", step=0, parent=None, seed=0),
    )
    folder.finish(StageRecord("base", "base", 0.1))
    shutil.rmtree(base)
    with held(folder.path), pytest.raises(RunHeld):  # which is looked at after the bases
        run(str(file), run_dir=folder.path, resume=True)
    assert missing_bases(recipe.model_dump()["stages"])
    own = folder.at_hand(recipe).model_dump()["stages"]
    assert (own[1], missing_bases(own)) == (recipe.model_dump()["stages"][1], [])


def test_a_study_that_is_taken_for_a_recipe_is_told_so() -> None:
    with pytest.raises(StudyError, match="extrapolation is a study, not a recipe") as refused:
        run("extrapolation")
    assert refused.value.fix == "Run it: interplay study extrapolation"


def test_what_an_evaluation_had_measured_is_kept_until_its_stage_is_recorded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    unfinished = unfinished_path(folder.path, "before")
    unfinished.parent.mkdir()
    unfinished.write_text("{}")
    folder.save_evaluation("before", Evaluation("base-0", 1.0, 0, 0.0, 0.0, (), ()))
    assert folder.evaluation("before") is not None
    assert unfinished.exists(), "a run that is killed here goes on with it"
    folder.finish(StageRecord("before", "eval", 0.1))
    assert not unfinished.exists()


def test_a_file_is_no_place_for_a_copy_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="file is no folder"):
        export(str(tmp_path / "run"), to=tmp_path / "file")
