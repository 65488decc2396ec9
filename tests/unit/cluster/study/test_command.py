"""The command of a study: what is refused, and that what is refused changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import NotEnough
from cluster.recipe.base import NoModel
from cluster.study.command import conduct, show_plan
from cluster.study.folder import AMENDED_FILE, Registration, StudyFolder
from cluster.study.load import StudyError
from cluster.study.model import Study
from cluster.study.plan import Member
from tests.studies import leave, little


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
