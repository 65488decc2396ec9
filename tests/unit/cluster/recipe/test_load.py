"""A recipe is read as plain data, changed by overrides, and refused before anything starts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from cluster.recipe.load import RecipeError, dump, load, shipped, tree_of


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


def test_null_in_the_place_of_a_stage_or_of_another_item_drops_it():
    recipe = load("smoke", ["stages.midtrain=null", "stages.rl=~"])
    assert [s.name for s in recipe.stages] == ["tokenizer", "pretrain", "before", "after", "report"]
    (op,) = task_of("smoke", "stages.pretrain.train.task.ops.0=null")["ops"]
    assert op == 3
    assert load("smoke", ["stages.rl.rl.eval=null"]) == load("smoke"), "a key of a map is set to none"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["stages.nope=null"], "there is no item 'nope'; take one of tokenizer, pretrain,"),
        (["stages.rl=null", "stages.rl.rl.steps=3"], "there is no item 'rl'; take one of tokenizer, pretrain,"),
        (["stages.rl="], "has no value"),
        (["stages.pretrain=null"], "stages.rl: needs a base or pretrain stage before it"),
        (["stages.tokenizer=null"], "stages.pretrain: needs a tokenizer stage before it"),
        (
            [f"stages.{name}=null" for name in ("pretrain", "midtrain", "before", "rl", "after")],
            "stages.tokenizer: needs a pretrain stage after it",
        ),
    ],
)
def test_a_stage_that_is_not_there_or_that_another_needs_cannot_be_dropped(overrides: list[str], told: str):
    with pytest.raises(RecipeError) as refused:
        load("smoke", overrides)
    assert told in f"{refused.value}; {refused.value.fix}"


def task_of(name: str, override: str) -> dict[str, Any]:
    """The pre-training task of a recipe with one override, unchecked."""
    return tree_of(name, [override])["stages"][1]["train"]["task"]


def test_stages_without_names_are_called_by_their_kind(tmp_path):
    text = "\n".join(line for line in dump(load("smoke")).splitlines() if not line.startswith("- name"))
    path = tmp_path / "nameless.yaml"
    path.write_text(text.replace("\n  kind:", "\n- kind:"))
    named = load(str(path), ["stages.rl.rl.steps=7", "stages.eval-2.eval.samples=2", "stages.1.train.steps=9"])
    assert [s.name for s in named.stages] == ["tokenizer", "pretrain", "midtrain", "eval", "rl", "eval-2", "report"]
    stages: Any = named.stages
    _, pretrain, _, before, rl, after, _ = stages
    assert (rl.rl.steps, before.eval.samples, after.eval.samples, pretrain.train.steps) == (7, 4, 2, 9)
    taken = tmp_path / "taken.yaml"
    taken.write_text(path.read_text().replace("- kind: rl", "- name: eval\n  kind: rl"))
    assert [s.name for s in load(str(taken)).stages][3:6] == ["eval-2", "eval", "eval-3"]


def test_every_mistake_on_the_command_line_is_named_at_once():
    with pytest.raises(RecipeError) as refused:
        load("smoke", ["seed", "stages.nope.x=1", "seed=2"])
    assert "2 errors" in str(refused.value)
    assert "'seed' is not an override" in str(refused.value)
    assert "there is no item 'nope'; take one of tokenizer, pretrain," in str(refused.value)


def test_an_override_that_leads_nowhere_hides_no_error_of_the_recipe():
    with pytest.raises(RecipeError) as refused:
        load("smoke", ["stages.zz.rl=3", "seed=-1"])
    told = str(refused.value)
    assert told.startswith("recipe smoke has 2 errors:\n  stages.zz.rl: there is no item 'zz'; take one of tokenizer, ")
    assert told.endswith("\n  seed: must be greater than or equal to 0, not -1")


def test_a_key_that_is_there_twice_is_named_with_its_lines(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nstages:\n- kind: report\n  name: x\n  kind: rl\n")
    with pytest.raises(RecipeError, match="line 5: the key kind is in line 3 already; keep one"):
        load(str(path))
    with pytest.raises(
        RecipeError, match=r"^'stages.rl.rl=\{steps: 5, steps: 50\}': line 1: the key steps is in line 1"
    ):
        load("smoke", ["stages.rl.rl={steps: 5, steps: 50}"])
    path.write_text(dump(load("smoke")))
    assert load(str(path)) == load("smoke"), "the same key in two maps is no mistake"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("stages.nope.x=1", "no item 'nope'"),
        ("seed.x=1", "'x' is below a plain value"),
        ("seed", "is not an override"),
        ("seed={", "the value is not YAML"),
        ("seed=!!bool maybe", "the value is not YAML"),
        ("stages.²=1", "no item '²'"),
    ],
)
def test_an_override_that_changes_nothing_is_refused_with_its_fix(override, told):
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
        "name: !!bool maybe",
        "name: !!int ''",
        "name: !!timestamp x",
        "name: !!set {a}",
    ],
)
def test_yaml_that_is_more_than_plain_data_is_refused(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError):
        load(str(path))


def test_a_date_is_text():
    assert tree_of("smoke", ["description=2024-01-01"])["description"] == "2024-01-01"
    assert load("smoke", ["description=2024-01-01"]).description == "2024-01-01"


def test_stages_that_have_no_text_as_their_name_or_are_none_are_told_of_too(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("name: a\nstages:\n- {kind: report, name: 5}\n")
    with pytest.raises(RecipeError, match=r"there is no item 'rl'; take one of 5"):
        load(str(file), ["stages.rl.x=1"])
    file.write_text("name: a\nstages: []\n")
    with pytest.raises(RecipeError, match=r"stages: must have at least one stage"):
        load(str(file))
    with pytest.raises(RecipeError, match=r"there is no item '0': the list is empty"):
        load(str(file), ["stages.0=1"])


def test_an_unknown_recipe_names_the_nearest_one():
    with pytest.raises(RecipeError) as refused:
        load("tiny-cpo")
    assert "did you mean tiny-cpu?" in refused.value.fix


def test_a_recipe_is_checked_without_loading_torch_or_ray():
    code = (
        "import sys, cluster.recipe.load; cluster.recipe.load.load('smoke'); "
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
