"""The command of a study: what is refused, and that what is refused changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actors.policy.checkpoint import Lineage
from cluster.commands.runs.study import main as study_command
from cluster.errors import NotEnough, RunFolderError
from cluster.recipe.base import BASES, NoModel, adopt
from cluster.run.lock import RunHeld, held
from cluster.study.command import conduct, report, show_plan
from cluster.study.folder import AMENDED_FILE, Registration, StudyFolder
from cluster.study.load import StudyError
from cluster.study.model import Study
from cluster.study.plan import Member
from tests.studies import leave, little
from trainers.evaluation.ledger import StageRecord


def run(folder: StudyFolder, given: Registration, resume: bool = False) -> None:
    conduct(folder, given, given.plan().runs, resume=resume, address=None, insecure=False, wait_s=0)


def changed(given: Registration, changes: dict[str, object]) -> Registration:
    """The same study with further changes to every arm."""
    tree = given.study.model_dump()
    for arm in tree["arms"].values():
        arm["changes"] |= changes
    return given.model_copy(update={"study": Study.model_validate(tree)})


def test_a_resumed_study_that_is_refused_stays_as_it_was_registered(tmp_path: Path):
    given = little(seeds=1)
    folder = StudyFolder(tmp_path / "little")
    folder.register(given)
    leave(folder, given.plan(), Member("arm0", 0), 0.5)
    with pytest.raises(StudyError, match="was run with another recipe"):
        run(folder, changed(given, {"stages.rl.rl.prompts_per_step": 4}), resume=True)
    assert not (folder.path / AMENDED_FILE).exists()
    assert folder.amendments() == []


def test_a_study_that_this_machine_cannot_hold_is_not_registered(tmp_path: Path):
    folder = StudyFolder(tmp_path / "little")
    with pytest.raises(NotEnough):
        run(folder, changed(little(seeds=1), {"fleet.rollout_workers": 400}))
    assert not folder.exists()


def test_a_study_of_a_base_that_does_not_exist_is_not_registered(tmp_path: Path):
    folder = StudyFolder(tmp_path / "little")
    given = little(seeds=1)
    first = {"kind": "base", "name": "base", "base": "nobody"}
    without = {"stages.pretrain": None, "stages.midtrain": None, "stages.tokenizer": first}
    with pytest.raises(NoModel, match="nobody"):
        run(folder, changed(given, without))
    assert not folder.exists()


def test_a_study_that_goes_on_needs_no_base_that_its_runs_have_copied(tmp_path: Path):
    base = Path(shutil.copytree(BASES / "tiny-base", tmp_path / "bases"))
    first = {"kind": "base", "name": "base", "base": str(next(base.iterdir()))}
    flops = {"stages.rl.rl.steps": None, "stages.rl.rl.flops": 1e13}
    without = {"stages.pretrain": None, "stages.midtrain": None, "stages.tokenizer": first}
    given = changed(little(seeds=1, equal="flops"), without | flops)
    folder, runs = StudyFolder(tmp_path / "little"), given.plan().runs
    folder.register(given)
    shared = folder.run(runs[0])
    shared.open(runs[0].recipe, resume=False)
    adopt(first["base"], shared.store, Lineage(run="shared", stage="base", step=0, parent=None, seed=0))
    shared.finish(StageRecord("base", "base", 1.0))
    shutil.rmtree(base)
    with pytest.raises(NoModel):
        show_plan(StudyFolder(tmp_path / "elsewhere" / "little"), runs, local=False)
    show_plan(folder, runs, local=False)
    with held(folder.path), pytest.raises(RunHeld):  # which is looked at after the bases
        run(folder, given, resume=True)


@pytest.mark.parametrize("plan", [True, False])
def test_a_study_in_a_folder_that_cannot_be_is_refused(tmp_path: Path, plan: bool):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be used as a folder"):
        study_command("process-reward", directory=tmp_path / "file", plan=plan)


@pytest.mark.parametrize("plan", [True, False])
def test_the_folder_of_another_study_is_refused(tmp_path: Path, plan: bool):
    StudyFolder(tmp_path / "process-reward").register(little())
    with pytest.raises(StudyError, match="holds another study"):
        study_command("process-reward", directory=tmp_path, plan=plan)


def test_a_recipe_that_is_taken_for_a_study_is_told_so():
    with pytest.raises(StudyError, match="tiny-cpu is a recipe, not a study") as refused:
        study_command("tiny-cpu")
    assert refused.value.fix == "Run it: interplay run tiny-cpu"


def test_a_report_names_its_file_as_it_is_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = StudyFolder(tmp_path / "exp[edge]" / "x[" / "y]")
    folder.register(little(seeds=1))
    report(folder)
    assert f"report: {folder.path / 'study.html'}" in capsys.readouterr().out


def test_a_plan_says_that_the_time_is_unknown_until_a_stage_of_the_kind_has_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder, given = StudyFolder(tmp_path / "little"), little(seeds=1)
    runs = given.plan().runs
    show_plan(folder, runs, local=False)
    assert "one run at a time: the time is unknown until a stage of the kind has run (?)" in capsys.readouterr().out
    leave(folder, given.plan(), Member("arm0", 0), 0.5)
    show_plan(folder, runs, local=False)
    assert "0 minutes, and the stages whose time is unknown until" in capsys.readouterr().out
