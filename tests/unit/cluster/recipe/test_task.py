"""Which problems a command asks that runs no recipe."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from cluster.evaluation.target import read_settings
from cluster.recipe.load import RecipeError, dump, load
from cluster.recipe.task import NoTask, named_task, opened, task_of_run, task_settings
from cluster.run.folder import RunFolder

STRANGERS = {"family": "python", "object": "strangers_code:make"}


def run_of(folder: Path, recipe: str) -> Path:
    folder.mkdir()
    (folder / "recipe.yaml").write_text(recipe)
    return folder


def with_task(task: dict) -> str:
    """The resolved recipe of a run, with other problems in every stage."""
    tree = yaml.safe_load(dump(load("smoke", ["stages.rl.rl.reward.name=outcome"])))
    for part in (part for stage in tree["stages"] for part in stage.values() if isinstance(part, dict)):
        if "task" in part:
            part["task"] = dict(task)
    return yaml.safe_dump(tree)


def test_the_task_of_a_recipe_is_the_one_that_it_measures() -> None:
    first, last = {"ops": [2]}, {"ops": [3]}
    rl = {"name": "rl", "kind": "rl", "rl": {"task": {"ops": [4]}}}
    evals = [{"name": n, "kind": "eval", "eval": {"task": t}} for n, t in (("before", first), ("after", last))]
    assert task_settings({"stages": [*evals, rl]}) == last
    assert task_settings({"stages": [rl]}) == {"ops": [4]}
    assert task_settings({"stages": [{"name": "report", "kind": "report"}]}) is None
    assert task_settings({"stages": 5}) is None


def test_problems_are_named_by_a_recipe_a_file_of_settings_or_code(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("family: gym\ndatasets: [{dataset: gcd}]\n")
    assert named_task("smoke") == {"ops": [2, 3], "max_facts": 4}
    assert named_task(str(file)) == {"family": "gym", "datasets": [{"dataset": "gcd"}]}
    assert named_task("my_problems:Doubling") == {"family": "python", "object": "my_problems:Doubling"}
    assert opened(named_task("smoke")).family == "graphs"
    with pytest.raises(RecipeError, match="nobodys_module does not import"):
        opened(named_task("nobodys_module:make"))


def test_a_runs_own_problems_are_asked_and_overrides_change_them(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", dump(load("smoke")))
    asked = read_settings(None, run, []).task.model_dump()
    assert asked["ops"] == (2, 3)
    assert read_settings(None, run, ["task.ops=[5]"]).task.model_dump() == {**asked, "ops": (5,)}
    assert read_settings("tiny-cpu", run, []).task.model_dump()["ops"] != (2, 3)
    with pytest.raises(NoTask, match="no problems to evaluate on"):
        read_settings(None, None, ["engine.threads=1"])
    with pytest.raises(NoTask, match="no recipe with a task"):
        task_of_run(tmp_path)


def test_code_that_a_run_folder_names_is_not_imported_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strangers_code.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    run = run_of(tmp_path / "run", with_task(STRANGERS))
    assert STRANGERS["object"] in dump(RunFolder(run).recipe())
    with pytest.raises(NoTask, match="strangers_code:make, which is imported only if you name it") as refused:
        task_of_run(run)
    assert refused.value.fix == "If you trust it, name it: --task strangers_code:make"
    assert "strangers_code" not in sys.modules
    with pytest.raises(RecipeError, match="AssertionError: imported"):
        load(str(run / "recipe.yaml"))


def test_a_run_can_be_looked_at_where_the_file_of_its_problems_is_not(tmp_path: Path) -> None:
    gone = {"family": "answers", "file": "/nowhere/problems.jsonl", "checker": "exact"}
    run = run_of(tmp_path / "run", with_task(gone))
    assert RunFolder(run).recipe().name == "smoke"
    with pytest.raises(RecipeError, match=r"there is no file /nowhere/problems\.jsonl"):
        opened(task_of_run(run))
