"""A recipe is refused before anything starts, with the path at fault and the nearest key."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cluster.recipe.config import RecipeError, dump, load, shipped


def test_every_shipped_recipe_is_valid_and_survives_being_written_down(tmp_path):
    for name in shipped():
        recipe = load(name)
        written = tmp_path / f"{name}.yaml"
        written.write_text(dump(recipe))
        assert load(str(written)) == recipe
        assert recipe.name == name


def test_an_override_changes_one_value_and_stages_go_by_their_names():
    recipe = load("smoke", ["seed=3", "stages.rl.rl.steps=7", "stages.0.name=words"])
    assert recipe.seed == 3
    assert next(s for s in recipe.stages if s.kind == "rl").rl.steps == 7
    assert recipe.stages[0].name == "words"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("sed=3", "sed: unknown key; did you mean seed?"),
        ("stages.rl.rl.stepz=3", "stages.4.rl.rl.stepz: unknown key; did you mean steps?"),
        ("stages.rl.rl.steps=many", "stages.4.rl.rl.steps: Input should be a valid integer"),
        ("fleet.rollout_workers=0", "fleet.rollout_workers: Input should be greater than or equal to 1"),
        ("stages.nope.x=1", "no item 'nope'"),
        ("seed", "is not an override"),
        ("seed={", "the value is not YAML"),
        ("stages.rl.rl.task.ops=[41]", "op is"),
        ("bands.target=middle", "is not one of the bands"),
        ("stages.after.name=before", "stage names must differ"),
        ("policy.heads=3", "hidden (64) must be heads (3)"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(override, told):
    with pytest.raises(RecipeError) as refused:
        load("smoke", [override])
    assert told in str(refused.value)
    assert refused.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system ['true']",
        "a: &a [1, 2]\nb: *a",
        "- just\n- a list",
        "name: [unclosed",
        "x: " + "y" * 70_000,
        "\x00",
    ],
)
def test_yaml_that_is_more_than_plain_data_is_refused(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError):
        load(str(path))


def test_an_unknown_recipe_names_the_nearest_one():
    with pytest.raises(RecipeError) as refused:
        load("tiny-cpo")
    assert "did you mean tiny-cpu?" in refused.value.fix


def test_a_recipe_is_checked_without_loading_torch_or_ray():
    code = (
        "import sys, cluster.recipe.config; cluster.recipe.config.load('smoke'); "
        "sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    "value", ["[" * 20_000, "7" * 60_000, "[" * 20_000 + "]" * 20_000], ids=["open", "digits", "deep"]
)
def test_yaml_that_python_cannot_take_is_refused_in_a_file_and_in_an_override(tmp_path, value):
    (tmp_path / "a.yaml").write_text(f"name: {value}\n")
    with pytest.raises(RecipeError, match="is not plain YAML"):
        load(str(tmp_path / "a.yaml"))
    with pytest.raises(RecipeError, match="the value is not YAML") as caught:
        load("smoke", [f"seed={value}"])
    assert len(str(caught.value)) < 1000
