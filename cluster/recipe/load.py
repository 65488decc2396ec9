"""Reads a recipe from its name or file, checks it, and writes it as YAML."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cluster.recipe import plain_yaml
from cluster.recipe.config import Recipe
from cluster.recipe.faults import endless, faults, listed
from cluster.recipe.overrides import RecipeError, override
from verifier.families import UNOPENED

M = TypeVar("M", bound=BaseModel)
MAX_RECIPE_BYTES = 64 * 1024


def shipped() -> list[str]:
    """The names of the recipes that come with the package."""
    folder = resources.files("cluster") / "recipes"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load(name_or_path: str, overrides: Sequence[str] = (), open_tasks: bool = True) -> Recipe:
    """The recipe of a shipped name or a file, with `key.path=value` overrides applied.

    Without `open_tasks` nothing that its tasks name is read or imported (`verifier.families.UNOPENED`).

    Raises:
        RecipeError: names every wrong key, as it is typed.
    """
    tree = tree_of(name_or_path, overrides)
    return _checked(Recipe, tree, f"recipe {name_or_path}", None if open_tasks else UNOPENED)


def tree_of(name_or_path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The keys of a recipe as written, with a name for every stage.

    Raises RecipeError: of overrides that cannot be applied, together with the errors that the recipe has without them.
    """
    tree = copy.deepcopy(_parse(_read(name_or_path), name_or_path))
    _name_stages(tree.get("stages"))
    refused = _apply(overrides, tree)
    if refused and (lines := faults_in(tree)):
        raise refusal(f"recipe {name_or_path}", [*map(_line, refused), *lines])
    _raise_all(refused)
    return tree


def faults_in(tree: dict[str, Any]) -> list[str]:
    """The errors in the keys of a recipe, one line each; empty if there is none."""
    return _read_as(Recipe, tree)[1]


def validated(model: type[M], overrides: Sequence[str], base: Mapping[str, Any] | None = None) -> M:
    """A settings model from overrides of `base`. Raises RecipeError."""
    tree: dict[str, Any] = copy.deepcopy(dict(base or {}))
    _raise_all(_apply(overrides, tree))
    return _checked(model, tree, "settings")


def _checked(model: type[M], tree: dict[str, Any], what: str, context: dict[str, bool] | None = None) -> M:
    found, lines = _read_as(model, tree, context)
    if found is None:
        raise refusal(what, lines)
    return found


def _read_as(
    model: type[M], tree: dict[str, Any], context: dict[str, bool] | None = None
) -> tuple[M | None, list[str]]:
    """The settings in a tree; or None, and the errors in its keys, one line each."""
    try:
        found = model.model_validate(tree, context=context)
    except ValidationError as error:
        return None, faults(error, model, tree)
    lines = [*endless(found.model_dump())]
    return (None, lines) if lines else (found, [])


def _apply(overrides: Sequence[str], tree: dict[str, Any]) -> list[RecipeError]:
    """Apply the overrides to the tree; returns why some cannot be."""
    refused: list[RecipeError] = []
    for text in overrides:
        try:
            override(tree, text)
            _name_stages(tree.get("stages"))  # one that was replaced may have no name
        except RecipeError as error:
            refused.append(error)
    return refused


def _raise_all(refused: Sequence[RecipeError]) -> None:
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise refusal("the command line", [*map(_line, refused)])


def _line(error: RecipeError) -> str:
    return f"{error}; {error.fix}"


def refusal(what: str, lines: Sequence[str]) -> RecipeError:
    """The error that lists all faults of a recipe."""
    correct = "correct this key; " if len(lines) == 1 else ""
    return RecipeError(listed(what, lines), f"{correct}`interplay recipe keys` lists all keys")


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML; `load` of it gives the same recipe."""
    return plain_yaml.write(recipe.model_dump(mode="json"))


def _read(name_or_path: str) -> bytes:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"there is no recipe file {name_or_path}", "check the path")
        data = path.read_bytes()
    else:
        if name_or_path not in shipped():
            near = difflib.get_close_matches(name_or_path, shipped(), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise RecipeError(f"there is no recipe {name_or_path!r}", f"{hint}shipped: {', '.join(shipped())}")
        data = (resources.files("cluster") / "recipes" / f"{name_or_path}.yaml").read_bytes()
    if len(data) > MAX_RECIPE_BYTES:
        raise RecipeError(f"recipe {name_or_path} has {len(data)} bytes", f"a recipe has at most {MAX_RECIPE_BYTES}")
    return data


@lru_cache(maxsize=4)
def _parse(data: bytes, name: str) -> dict[str, Any]:
    """Every arm of a study begins with the same text. Not to be changed: the next caller gets the same tree."""
    try:
        tree = plain_yaml.parse(data)
    except plain_yaml.NOT_PLAIN as error:
        raise RecipeError(f"recipe {name} is not plain YAML: {error}", "correct the file") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"recipe {name} is not a map of keys", "begin with name and stages")
    return tree


def _name_stages(stages: Any) -> None:
    """Give every stage without a name the name of its kind; the second of a kind gets `-2`, and so on."""
    maps = [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    taken = {stage["name"] for stage in maps if isinstance(stage.get("name"), str)}
    for stage in maps:
        kind = stage.get("kind")
        if "name" not in stage and isinstance(kind, str):
            names = (kind, *(f"{kind}-{number}" for number in range(2, len(maps) + 2)))
            stage["name"] = next(name for name in names if name not in taken)
            taken.add(stage["name"])
