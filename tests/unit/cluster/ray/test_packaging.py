"""Which of the user's files travel to a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.ray import packaging
from cluster.ray.packaging import PACKAGES, TooMuchToShip, own_folder, stage
from cluster.recipe.load import tree_of


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder as a user starts a run from."""
    folder = tmp_path / "own"
    for name in (
        "my_problems.py", "my_problems_data/words.txt", "helpers/__init__.py", "helpers/__pycache__/a.pyc", ".git/HEAD",
        ".env", "runs/a/recipe.yaml", "runs/a/checkpoints/rl-1/model.safetensors", "env/pyvenv.cfg", "env/lib/big.py",
        "serving/mine.py",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")
    return folder


@pytest.mark.parametrize("path", ["my_problems:Doubling", "helpers.deep:make"])
def test_a_recipe_that_names_code_of_the_folder_takes_it_along(own: Path, path: str) -> None:
    task = {"stages": [{"rl": {"task": {"family": "python", "object": path}}}]}
    reward = {"stages": [{"rl": {"reward": [{"name": "outcome"}, {"name": path}]}}]}
    assert own_folder(task, own) == own_folder(reward, own) == own


def test_a_recipe_of_installed_code_and_one_without_code_take_no_folder_along(own: Path) -> None:
    installed = {"task": {"family": "python", "object": "json:loads"}, "seed": 1, "base": "runs/a:b"}
    assert own_folder(installed, own) is None
    assert own_folder(tree_of("smoke"), own) is None


def test_an_override_that_names_code_is_seen(own: Path) -> None:
    named = tree_of("smoke", ["stages.rl.rl.reward.name=my_problems:short"])
    assert own_folder(named, own) == own


def test_code_and_data_travel_but_no_run_environment_cache_or_hidden_file(own: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    stage(into, {}, own)
    theirs = {
        str(path.relative_to(into))
        for path in into.rglob("*")
        if path.is_file() and path.relative_to(into).parts[0] not in PACKAGES
    }
    assert theirs == {"my_problems.py", "my_problems_data/words.txt", "helpers/__init__.py"}
    assert not (into / "serving" / "mine.py").exists()


def test_a_folder_too_large_to_travel_is_named(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaging, "OWN_MIB", 1e-6)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(TooMuchToShip, match=str(own)):
        stage(into, {}, own)
