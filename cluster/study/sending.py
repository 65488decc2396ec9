"""A study as it is sent to a cluster: one file with the scale that was chosen, and that scale's recipe, if a file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Final

from cluster.ray.packaging import Sent, own_folder, recipe_to_send
from cluster.recipe import plain_yaml
from cluster.recipe.load import shipped as shipped_recipes
from cluster.recipe.load import tree_of
from cluster.study.load import StudyError, is_file, load, scale_of, shipped
from cluster.study.model import Scale, Study

SHIPPED_STUDY: Final = "submitted-study.yaml"


def require_known(name_or_file: str) -> None:
    """Raises StudyError, with the nearest name, unless it is a file, or a shipped recipe or study."""
    names = [*shipped_recipes(), *shipped()]
    if not is_file(name_or_file) and name_or_file not in names:
        near = difflib.get_close_matches(name_or_file, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"shipped: {', '.join(names)}; or name a file."
        raise StudyError(f"there is no recipe or study {name_or_file!r}.", f"Check the name: {hint}")


def study_to_send(name_or_file: str, scale: str | None, overrides: list[str], flags: list[str], folder: Path) -> Sent:
    """The command `interplay study` for a cluster; `folder` is where the user's code may be.

    The study is checked there, where its recipes can be opened. Raises StudyError and RecipeError for what cannot be
    read here.
    """
    study = load(name_or_file)
    chosen = scale_of(study, scale)
    named = [tree_of(chosen.recipe, overrides), study.model_dump(mode="json")]
    recipe, files = recipe_to_send(chosen.recipe)
    text = _alone(study, scale, chosen.model_copy(update={"recipe": recipe}))
    words = ("study", SHIPPED_STUDY, *overrides, *flags)
    return Sent(study.name, words, {**files, SHIPPED_STUDY: text}, own_folder(named, folder))


def _alone(study: Study, name: str | None, scale: Scale) -> str:
    """The study with one scale, under its name; that of a file is called by its stem."""
    called = Path(name).stem if name is not None else next(iter(study.scales))
    record = study.model_copy(update={"scales": {called: scale}}).model_dump(mode="json")
    return plain_yaml.write(record)
