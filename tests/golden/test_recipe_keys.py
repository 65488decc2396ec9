"""The reference of recipe keys is what the settings models say, and its first recipe is one."""

from __future__ import annotations

import re

from cluster.recipe.base import missing_bases
from cluster.recipe.keys import all_keys, holding
from cluster.recipe.load import faults_in, load, shipped, tree_of
from tests.golden.recipe_keys import PAGE, rendered
from trainers.config import RlConfig


def test_the_page_lists_every_key_as_the_models_have_it_now():
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page) == page, "write it anew: python -m tests.golden.recipe_keys"
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert {key.path.split(".")[-1] for key in all_keys()} <= told


def test_the_page_tells_every_kind_of_stage_and_every_recipe_that_ships():
    page = PAGE.read_text(encoding="utf-8")
    kinds = {key.path.split(".")[1] for key in holding("stages.")}
    assert {kind for kind in kinds if f"\n| `{kind}` | " not in page} == set()
    assert {name for name in shipped() if f"`{name}` (" not in page} == set()


def test_every_key_has_a_meaning_and_every_count_its_unit():
    assert [key.path for key in all_keys() if not key.meaning] == []
    assert [
        key.path for key in all_keys() if "integer" in key.values and not key.unit and "bands" not in key.path
    ] == []


def test_the_first_recipe_of_the_page_is_good(tmp_path):
    (example,) = re.findall(r"```yaml\n(name: first.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "first.yaml").write_text(example)
    recipe = load(str(tmp_path / "first.yaml"))
    assert [stage.name for stage in recipe.stages] == ["base", "eval", "rl", "eval-2", "report"]
    assert missing_bases(recipe.model_dump()["stages"]) == []


def test_the_mistakes_of_the_page_are_told_as_it_shows_them(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    (tmp_path / "first.yaml").write_text(re.findall(r"```yaml\n(name: first.*?)```", page, re.DOTALL)[0])
    said = faults_in(tree_of(str(tmp_path / "first.yaml"), ["stages.rl.rl.clip_low=0.1", "stages.rl.rl.stepz=1"]))
    assert len(said) == 2
    assert all(f"\n  {line}\n" in page for line in said)


def test_a_key_says_what_it_may_be_its_default_and_its_unit():
    (steps,) = holding("stages.rl.rl.steps")
    meaning = "length of the stage, unless flops or paper_tokens say it"
    assert steps == ("stages.rl.rl.steps", "integer >= 1", "none", "learner steps", meaning, "")
    clip = {key.path.split(".")[-1]: key for key in holding("learning.clip")}
    assert clip["clip_low"].values == "number > 0, < 1"
    assert {key.path for key in holding("cispo")} == {"stages.rl.rl.learning.algorithm"}
    families = {key.family for key in holding("stages.eval.eval.task.")}
    assert families == {"", "graphs", "answers", "gym", "python"}
    assert "stages.midtrain.train.optimizer.betas" in {key.path for key in all_keys()}
    (alpha,) = (key for key in all_keys() if key.path == "stages.rl.rl.reward.alpha")
    assert alpha.default == "0.2"
    assert set(RlConfig.model_fields) <= {key.path.split(".")[3] for key in holding("stages.rl.rl.")}
