"""Overrides of the command line, `key.path=value`, applied to the tree of a recipe before it is checked."""

from __future__ import annotations

from typing import Any

from cluster.recipe import plain_yaml
from verifier.errors import UserError

SHOWN = 200
"""Characters of an override that a message repeats."""


class RecipeError(UserError):
    """A recipe that is not valid: the message names the file or the wrong keys."""


def override(tree: dict[str, Any], text: str) -> None:
    """Set `key.path=value` in the tree: a list item by its number, a stage also by its name; null drops it.

    Raises RecipeError.
    """
    path, sign, value = text.partition("=")
    if not sign or not path:
        raise RecipeError(f"{text!r} is not an override", "write key.path=value, for example seed=3")
    *parents, last = path.split(".")
    node: Any = tree
    for key in parents:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[_index(node, key, path)]
    given = _parse(value, text)
    if isinstance(node, dict):
        node[last] = given
    else:
        _replace(node, _index(node, last, path), given, text)


def _replace(items: Any, index: int, given: Any, text: str) -> None:
    """Put what is given in the place of an item, or drop the item for null."""
    if given is not None:
        items[index] = given
    elif text.endswith("="):  # an empty variable of a shell should not drop a stage
        raise RecipeError(f"{text!r} has no value", "write null to drop the item")
    else:
        del items[index]


def _parse(value: str, text: str) -> Any:
    try:
        return plain_yaml.parse(value)
    except plain_yaml.KeyTwice as error:
        raise RecipeError(f"{text[:SHOWN]!r}: {error}", "give each key once") from error
    except plain_yaml.NOT_PLAIN as error:
        raise RecipeError(f"{text[:SHOWN]!r}: the value is not YAML", "quote it, or write a number") from error


def _index(node: Any, key: str, path: str) -> int:
    if not isinstance(node, list):
        raise RecipeError(f"{path}: {key!r} is below a plain value", "name an existing key")
    names = [item.get("name") if isinstance(item, dict) else None for item in node]
    if key in names:
        return names.index(key)
    if key.isdecimal() and int(key) < len(node):
        return int(key)
    if not node:
        raise RecipeError(f"{path}: there is no item {key!r}: the list is empty", "write the whole list")
    choices = [str(name) for name in names if name] or [f"0 to {len(node) - 1}"]
    raise RecipeError(f"{path}: there is no item {key!r}", f"take one of {', '.join(choices)}")
