"""Reads and checks a study, from its name or file, and the scale that it is run at."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from cluster.recipe import plain_yaml
from cluster.recipe.faults import faults, listed
from cluster.recipe.load import shipped as shipped_recipes
from cluster.study.model import Scale, Study
from verifier.errors import UserError

M = TypeVar("M", bound=BaseModel)
MAX_STUDY_BYTES = 64 * 1024


class StudyError(UserError):
    """A study that is not valid, or does not fit its recipe: the message names the file and the wrong key."""


def shipped() -> list[str]:
    """The names of the studies that come with the package."""
    folder = resources.files("cluster") / "studies"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def is_study(name_or_file: str) -> bool:
    """Whether a shipped name or a YAML file is a study rather than a recipe: a study has arms."""
    if not is_file(name_or_file):
        return name_or_file in shipped()
    try:
        tree = plain_yaml.parse(Path(name_or_file).read_bytes())
    except (OSError, *plain_yaml.NOT_PLAIN):
        return False  # whoever reads it as a recipe says what is wrong with it
    return isinstance(tree, dict) and "arms" in tree


def load(name_or_file: str) -> Study:
    """The study of a shipped name or a YAML file. Raises StudyError."""
    if is_file(name_or_file):
        path = Path(name_or_file)
        study = checked(Study, _read(path), f"study {name_or_file}")
        scales = {name: placed(scale, path.parent) for name, scale in study.scales.items()}
        return study.model_copy(update={"scales": scales})
    if name_or_file in shipped_recipes():
        raise StudyError(f"{name_or_file} is a recipe, not a study.", f"Run it: interplay run {name_or_file}")
    if name_or_file not in shipped():
        raise StudyError(f"there is no study {name_or_file!r}.", f"Shipped: {', '.join(shipped())}; or name a file.")
    text = (resources.files("cluster") / "studies" / f"{name_or_file}.yaml").read_bytes()
    return checked(Study, text, f"study {name_or_file}")


def scale_of(study: Study, name_or_file: str | None) -> Scale:
    """One of the study's own scales (by default its first), or that of a YAML file. Raises StudyError."""
    if name_or_file is not None and is_file(name_or_file):
        path = Path(name_or_file)
        return placed(checked(Scale, _read(path), f"scale {name_or_file}"), path.parent)
    name = name_or_file or next(iter(study.scales))
    if name not in study.scales:
        raise StudyError(f"{study.name} has no scale {name!r}.", f"It has {', '.join(study.scales)}; or name a file.")
    return study.scales[name]


def placed(scale: Scale, folder: Path) -> Scale:
    """Resolve the recipe file that a study names, which is relative to the study's own file."""
    recipe = str((folder / scale.recipe).resolve()) if is_file(scale.recipe) else scale.recipe
    return scale.model_copy(update={"recipe": recipe})


def is_file(name_or_file: str) -> bool:
    """Whether a word is the name of a file, by the same rule as for recipes."""
    return name_or_file.endswith((".yaml", ".yml"))


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise StudyError(f"the file {path} does not exist.", "Check the path.")
    data = path.read_bytes()
    if len(data) > MAX_STUDY_BYTES:
        raise StudyError(f"{path} has {len(data)} bytes.", f"A study has at most {MAX_STUDY_BYTES}.")
    return data


def checked(model: type[M], data: bytes, what: str) -> M:
    """The settings that a file holds; `what` is how messages call it. Raises StudyError, with every wrong key."""
    try:
        tree = plain_yaml.parse(data)
    except plain_yaml.NOT_PLAIN as error:
        raise StudyError(f"{what} is not plain YAML: {error}", "Correct the file.") from error
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise StudyError(listed(what, faults(error, model, tree)), "Correct each key (docs/studies.md).") from error
