"""A study travels as one file with the scale that was chosen; what it is on the cluster is what it is here."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.ray.packaging import SHIPPED_RECIPE, Sent, stage
from cluster.recipe.load import RecipeError
from cluster.recipe.load import shipped as shipped_recipes
from cluster.study.folder import Registration
from cluster.study.load import StudyError, is_study, load, scale_of, shipped
from cluster.study.sending import SHIPPED_STUDY, require_known, study_to_send

LITTLE = Path("tests/integration/study.yaml")


def arrived(sent: Sent, folder: Path) -> Registration:
    """The study as the command on the cluster reads it."""
    folder.mkdir()
    stage(folder, sent.files)
    study = load(str(folder / SHIPPED_STUDY))
    return Registration(study=study, scale=scale_of(study, None))


def test_a_study_is_the_same_there_with_the_scale_that_was_chosen(tmp_path: Path) -> None:
    sent = study_to_send("diversity", "gpu", ["seed=3"], ["--resume", "--only=kl"], tmp_path)
    assert (sent.name, sent.own) == ("diversity", None)
    assert sent.words == ("study", SHIPPED_STUDY, "seed=3", "--resume", "--only=kl")
    there = arrived(sent, tmp_path / "there")
    here = load("diversity")
    assert there.scale == scale_of(here, "gpu")
    assert there.study == here.model_copy(update={"scales": {"gpu": here.scales["gpu"]}})


def test_the_recipe_file_that_a_study_names_travels_with_it(tmp_path: Path) -> None:
    sent = study_to_send(str(LITTLE), None, [], [], tmp_path)
    there = arrived(sent, tmp_path / "there")
    assert there.scale.recipe == str(tmp_path / "there" / SHIPPED_RECIPE)
    assert Path(there.scale.recipe).read_text() == LITTLE.with_name("little.yaml").read_text()
    assert [run.name for run in there.plan().runs if not run.shared] == ["strict/3", "outcome/3"]


def test_code_of_the_folder_that_an_arm_names_travels_too(tmp_path: Path) -> None:
    (tmp_path / "my_rewards.py").write_text("")
    text = LITTLE.read_text().replace("name: outcome", "name: 'my_rewards:short'")
    study = tmp_path / "mine.yaml"
    study.write_text(text.replace("little.yaml", str(LITTLE.with_name("little.yaml").resolve())))
    assert study_to_send(str(study), None, [], [], tmp_path).own == tmp_path


def test_a_study_is_told_from_a_recipe_by_its_arms(tmp_path: Path) -> None:
    assert is_study(str(LITTLE))
    assert not is_study(str(LITTLE.with_name("little.yaml")))
    assert [is_study(name) for name in ("ladder", "tiny-cpu", "no-such")] == [True, False, False]
    assert not set(shipped()) & set(shipped_recipes())
    assert not is_study(str(tmp_path / "none.yaml"))


def test_a_name_that_is_neither_a_recipe_nor_a_study_is_told_with_the_nearest() -> None:
    for known in ("tiny-cpu", "extrapolation", "mine.yaml"):
        require_known(known)
    for name, near in (("extrapolaton", "extrapolation"), ("tiny-cpo", "tiny-cpu")):
        with pytest.raises(StudyError, match=f"there is no recipe or study '{name}'") as refused:
            require_known(name)
        assert f"did you mean {near}?" in refused.value.fix


@pytest.mark.parametrize("recipe", [None, b"name: \xff", b"["])
def test_a_study_whose_recipe_cannot_be_read_is_not_sent(tmp_path: Path, recipe: bytes | None) -> None:
    (tmp_path / "mine.yaml").write_text(LITTLE.read_text())
    if recipe is not None:
        (tmp_path / "little.yaml").write_bytes(recipe)
    with pytest.raises(RecipeError, match=r"little\.yaml"):
        study_to_send(str(tmp_path / "mine.yaml"), None, [], [], tmp_path)
