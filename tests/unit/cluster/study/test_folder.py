"""The folder of a study: what is registered, where its runs stand, and what a run takes over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cluster.recipe import plain_yaml
from cluster.recipe.config import Recipe
from cluster.recipe.load import dump
from cluster.run.folder import RunFolder
from cluster.run.lock import held
from cluster.study.folder import FAILURE_FILE, Registration, State, StudyFolder, take_over
from cluster.study.load import StudyError, load, scale_of
from cluster.study.plan import Member
from tests.studies import leave, little
from trainers.evaluation.ledger import StageRecord

FILE = Path(__file__).parents[3] / "integration" / "study.yaml"


def registered(path: Path) -> tuple[StudyFolder, Registration]:
    folder, given = StudyFolder(path), little(seeds=1)
    folder.register(given)
    return folder, given


def test_a_folder_of_another_study_or_scale_is_refused_with_what_differs(tmp_path: Path):
    folder, given = registered(tmp_path / "s")
    other = given.model_copy(update={"overrides": ("policy.layers=3",)})
    with pytest.raises(StudyError, match=r'holds another study: overrides: \[\] -> \["policy.layers=3"\]'):
        folder.register(other)
    renamed = given.model_copy(update={"study": given.study.model_copy(update={"name": "other"})})
    with pytest.raises(StudyError, match="name: little -> other"):
        folder.register(renamed)
    with pytest.raises(StudyError, match="is no study folder"):
        StudyFolder(tmp_path).registered()


@pytest.mark.parametrize(("text", "told"), [("study: 5", "study: must be a map of keys"), ("[", "is not plain YAML")])
def test_a_registered_study_that_cannot_be_read_is_named_with_what_is_wrong(tmp_path: Path, text: str, told: str):
    folder, _ = registered(tmp_path / "s")
    (folder.path / "study.yaml").write_text(text)
    with pytest.raises(StudyError, match=told) as refused:
        folder.current()
    assert str(folder.path / "study.yaml") in str(refused.value)


def test_the_states_of_a_run(tmp_path: Path):
    folder, given = registered(tmp_path / "s")
    plan = given.plan()
    run = plan.run(Member("arm0", 0))
    path = folder.path_of(run.name)
    assert folder.standing(run).state is State.WAITING
    path.mkdir(parents=True)
    (path / "recipe.yaml").write_text(dump(run.recipe))
    assert folder.standing(run).state is State.STOPPED
    with held(path):
        assert folder.standing(run).state is State.RUNNING
    (path / FAILURE_FILE).write_text("no room\n")
    assert (folder.standing(run).state, folder.standing(run).failure) == (State.FAILED, "no room")
    leave(folder, plan, Member("arm1", 0), 0.5)
    assert folder.standing(plan.run(Member("arm1", 0))).state is State.DONE


def test_a_run_that_was_made_with_another_recipe_is_refused_with_what_differs(tmp_path: Path):
    folder, given = registered(tmp_path / "s")
    plan = given.plan()
    leave(folder, plan, Member("arm0", 0), 0.5)
    folder.refuse_changed(plan.runs)
    run = plan.run(Member("arm0", 0))
    other = run.recipe.model_copy(update={"seed": 7})
    (folder.path_of(run.name) / "recipe.yaml").write_text(dump(other))
    with pytest.raises(StudyError, match="was run with another recipe: seed: 7 -> 0"):
        folder.refuse_changed(plan.runs)


def test_a_shared_run_that_is_there_keeps_its_recipe_but_for_its_placement(tmp_path: Path):
    folder, given = registered(tmp_path / "s")
    shared = next(run for run in given.plan().runs if run.shared)
    path = folder.path_of(shared.name)
    assert path.parent == tmp_path / "shared"
    path.mkdir(parents=True)
    (path / "recipe.yaml").write_text(dump(shared.recipe.model_copy(update={"name": "elsewhere"})))
    moved = given.model_copy(update={"overrides": ("fleet.rollout_workers=2",)}).plan()
    recipe = folder.recipe(next(run for run in moved.runs if run.shared))
    assert (recipe.name, recipe.fleet.rollout_workers) == ("elsewhere", 2)


def test_a_study_of_a_recipe_file_goes_on_from_another_place_and_is_planned_without_the_file(tmp_path: Path):
    def at(place: Path, old: str = "", new: str = "") -> Registration:
        """The study as it is read from files that lie there, its recipe with other words."""
        place.mkdir(exist_ok=True)
        (place / "study.yaml").write_text(FILE.read_text())
        (place / "little.yaml").write_text(FILE.with_name("little.yaml").read_text().replace(old, new, 1))
        study = load(str(place / "study.yaml"))
        return Registration(study=study, scale=scale_of(study, None))

    folder, first = StudyFolder(tmp_path / "studies" / "little"), at(tmp_path / "one")
    folder.register(first)
    runs = [run.name for run in first.plan().runs]
    shutil.rmtree(tmp_path / "one")
    assert [run.name for run in folder.current().plan().runs] == runs
    folder.register(at(tmp_path / "two"))
    assert folder.amendments() == []
    folder.register(at(tmp_path / "three", "name: little", "name: renamed"))
    with pytest.raises(StudyError, match=r"another study: scale.recipe.stages.before.eval.problems: 6 -> 7\."):
        folder.register(at(tmp_path / "four", "problems: 6", "problems: 7"))
    assert [run.name for run in folder.current().plan().runs] == runs


def test_a_study_that_was_registered_with_the_path_of_its_recipe_goes_on_with_that_path(tmp_path: Path):
    study = load(str(FILE))
    given = Registration(study=study, scale=scale_of(study, None))
    folder = StudyFolder(tmp_path / "little")
    folder.path.mkdir()
    (folder.path / "study.yaml").write_text(plain_yaml.write(given.model_dump(mode="json")))
    folder.register(given)
    assert sorted(path.name for path in folder.path.iterdir()) == ["study.yaml"]
    assert folder.current() == given


def one_after_another(tmp_path: Path) -> tuple[Recipe, RunFolder, RunFolder]:
    """The recipe of a run, the folder of the run before it, and its own; both are empty."""
    _, given = registered(tmp_path / "s")
    before, folder = RunFolder(tmp_path / "before"), RunFolder(tmp_path / "run")
    for made in (before, folder):
        made.path.mkdir()
    return given.plan().run(Member("arm0", 0)).recipe, before, folder


def test_a_run_begins_with_what_the_run_before_it_made_and_begins_once(tmp_path: Path):
    recipe, before, folder = one_after_another(tmp_path)
    before.finish(StageRecord("tokenizer", "tokenizer", 1.0))
    (before.path / "tokenizer").mkdir()
    (before.path / "tokenizer" / "tokenizer.json").write_text("{}")
    (folder.path / "evals").mkdir()  # half of an interrupted call
    take_over(folder, recipe, before)
    assert [record.name for record in folder.stages()] == ["tokenizer"]
    assert (folder.path / "tokenizer" / "tokenizer.json").exists()
    assert not (folder.path / "evals").exists()
    assert folder.recipe() == recipe
    folder.finish(StageRecord("rl", "rl", 1.0))
    take_over(folder, recipe, before)
    assert [record.name for record in folder.stages()] == ["tokenizer", "rl"], "what was begun is left alone"


def test_what_is_taken_over_is_on_the_disk_before_the_recipe_that_says_so(tmp_path: Path, monkeypatch):
    recipe, before, folder = one_after_another(tmp_path)
    before.finish(StageRecord("before", "eval", 1.0))
    (before.path / "evals").mkdir()
    (before.path / "evals" / "before.json").write_text("{}")
    synced: list[Path] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(folder.path))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    take_over(folder, recipe, before)
    *copied, written, _ = map(str, synced)
    assert sorted(copied) == ["evals", "evals/before.json", "stages.json"]
    assert written.startswith(".recipe.yaml.")


def test_a_shared_run_is_needed_until_all_runs_behind_it_have_begun(tmp_path: Path):
    folder, given = registered(tmp_path / "s")
    plan = given.plan()

    def needed() -> list[str]:
        return [run.name.partition("-")[0] for run in folder.still_needed(plan.runs)]

    assert needed() == ["shared/before", "arm0/0", "arm1/0"]
    leave(folder, plan, Member("arm0", 0), 0.5)
    assert needed() == ["shared/before", "arm0/0", "arm1/0"]
    begun = folder.run(plan.run(Member("arm1", 0)))
    begun.path.mkdir(parents=True)
    take_over(begun, plan.run(Member("arm1", 0)).recipe, None)
    assert needed() == ["arm0/0", "arm1/0"]
    shared = folder.run(plan.runs[0])
    shared.path.mkdir(parents=True)
    for name in plan.runs[0].own:
        shared.finish(StageRecord(name, "eval", 1.0))
    assert needed() == ["shared/before", "arm0/0", "arm1/0"], "one that is done is shown as done"
