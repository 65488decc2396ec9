"""The errors of a recipe, or of another file of settings: one line for each key, written as a person types it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cluster.recipe.config import Recipe, order_faults
from cluster.recipe.keys import all_keys, inside, parts, settings

# Said of a key besides the error of another key, which its default depends on.
CONSEQUENCE = "default_factory_not_called"
# The last step of pydantic's path to a name of a map that is wrong itself.
OF_THE_NAME = "[key]"
UNKNOWN = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
SHAPES = {
    "model_type": "must be a map of keys",
    "model_attributes_type": "must be a map of keys",
    "dataclass_type": "must be a map of keys",
    "dict_type": "must be a map of keys",
    "tuple_type": "must be a list",
}
SHOULD = re.compile(r"^\w+ should ")
A_TYPE = re.compile(r"must be an? (?:valid )?([^,]*), not (.*)", re.DOTALL)
NAMED_KEY = re.compile(r"([a-z_]+(?:\.[a-z0-9_-]+)*): (.+)", re.DOTALL)
SHOWN = 60
"""Characters of a wrong value that a line repeats."""

Keys = tuple[str, ...]


class Place(NamedTuple):
    """The place of an error: the keys as typed, the model that has the last one as a field, and the model in it."""

    keys: Keys
    owner: type[Any] | None
    holds: type[Any] | None


def faults(error: ValidationError, model: type[BaseModel], tree: dict[str, Any]) -> list[str]:
    """One line for each wrong key. `tree` is what was validated, with the stages named."""
    found: dict[Keys, list[str]] = {}
    for each in error.errors(include_url=False):
        if each["type"] == CONSEQUENCE:
            continue
        if each["type"] == "too_short" and each["input"]:
            continue  # an item of the list is wrong, and has a line of its own
        for keys, said in _said(each, _place(model, tree, each["loc"]), model, tree):
            found.setdefault(keys, []).append(said)
    lines = [f"{'.'.join(keys)}: {_joined(said)}" if keys else _joined(said) for keys, said in found.items()]
    # Pydantic checks the order of the stages only when each of them is valid.
    order = order_faults(_named_kinds(tree)) if model is Recipe else []
    return [*lines, *(line for line in order if line not in lines)]


def endless(data: Any, keys: Keys = ()) -> Iterator[str]:
    """One line for each number of checked settings that is not finite: a rate, a time or a weight without an end."""
    if isinstance(data, float) and not math.isfinite(data):
        yield f"{'.'.join(keys)}: must be a finite number, not {data}"
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from endless(value, (*keys, str(key)))
    elif isinstance(data, list | tuple):
        for number, item in enumerate(data):
            yield from endless(item, (*keys, _step(item, number)))


def listed(what: str, lines: Sequence[str]) -> str:
    """All faults of a file as one message: one on the same line, several on a line each."""
    if len(lines) == 1:
        return f"{what}: {lines[0]}"
    return f"{what} has {len(lines)} errors:" + "".join(f"\n  {line}" for line in lines)


def _place(model: type[BaseModel], tree: Any, location: Sequence[int | str]) -> Place:
    """Follow pydantic's location through the tree, without what nobody typed (the name of a union's branch)."""
    keys: list[str] = []
    annotation, node, owner = model, tree, None
    branch = False
    for part in location:
        if branch or part == OF_THE_NAME:
            branch = False
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            keys.append(_step(node, part))
            branch = len(parts(annotation)) > 1
        elif isinstance(node, dict) and get_origin(annotation) is dict:
            node, annotation, owner = node.get(part), get_args(annotation)[-1], None
            keys.append(str(part))
        elif isinstance(node, dict) and isinstance(part, str) and (part in node or inside(annotation, node)):
            owner = inside(annotation, node)
            field = settings(owner).get(part) if owner else None
            annotation = field.annotation if field else None
            node = node.get(part)
            keys.append(part)
    return Place(tuple(keys), owner, inside(annotation, node))


def _step(item: Any, number: int) -> str:
    """How a person names an item of a list: a stage by its name, another by its number."""
    return str(item.get("name", number)) if isinstance(item, dict) else str(number)


def _said(error: Any, place: Place, model: type[BaseModel], tree: dict[str, Any]) -> Iterator[tuple[Keys, str]]:
    """The lines of one of pydantic's errors, each with the keys that it is about."""
    kind, keys = error["type"], place.keys
    if kind in UNKNOWN:
        yield keys, _unknown(place, model, tree)
    elif kind == "missing":
        yield keys, "is required"
    elif kind == "union_tag_not_found":
        yield (*keys, _tag(error)), "is required"
    elif kind == "union_tag_invalid":
        yield (*keys, _tag(error)), _no_choice(error["ctx"]["expected_tags"], error["ctx"]["tag"])
    elif kind == "literal_error":
        yield keys, _no_choice(error["ctx"]["expected"], error["input"])
    elif kind == "too_short":
        yield keys, f"must have at least one {keys[-1].removesuffix('s') if keys[-1].endswith('s') else 'item'}"
    elif kind == "value_error":
        for line in error["msg"].removeprefix("Value error, ").splitlines():
            yield _at_its_key(line, place)
    else:
        yield keys, _plain(SHAPES[kind] if kind in SHAPES else error["msg"], error["input"])


def _tag(error: Any) -> str:
    """The key that says which model of a union is meant."""
    return error["ctx"]["discriminator"].strip("'")


def _unknown(place: Place, model: type[BaseModel], tree: dict[str, Any]) -> str:
    """Suggests the nearest key of this level, else the same key elsewhere, else lists the keys of this level."""
    *above, key = place.keys
    here = list(settings(place.owner)) if place.owner else []
    near = difflib.get_close_matches(key, here, n=1) or _elsewhere(key, above, model, tree)
    hint = f"did you mean {near[0]}?" if near else f"the keys here are {', '.join(here)}"
    return f"there is no such key; {hint}"


def _elsewhere(key: str, above: Sequence[str], model: type[BaseModel], tree: dict[str, Any]) -> list[str]:
    """The paths of keys of this name elsewhere: in the same stage and outside of stages, else in any stage.

    Of the recipe's keys, those that the model has too.
    """
    known = [path for k in all_keys() if (path := k.path.split("."))[0] in settings(model)]
    paths = [path for k in known for path in _typed(k, tree) if key in path[2:] or path[1:] == [key]]
    same = [path for path in paths if path[0] != "stages" or path[:2] == list(above[:2])]
    found = same or ([] if above else paths)
    return [".".join(path[: len(path) - path[::-1].index(key)]) for path in found]


def _typed(path: list[str], tree: dict[str, Any]) -> Iterator[list[str]]:
    """A known key as it is typed in this recipe: once for every stage of the kind that has it."""
    if path[0] != "stages":
        yield path
    for name, kind in _named_kinds(tree):
        if path[:2] == ["stages", kind]:
            yield ["stages", name, *path[2:]]


def _no_choice(choices: str, given: object) -> str:
    """`choices` as pydantic lists them: 'a', 'b' or 'c'."""
    near = difflib.get_close_matches(str(given), re.findall(r"'([^']*)'", choices), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"must be {choices.replace(chr(39), '')}, not {_short(given)}{hint}"


def _at_its_key(line: str, place: Place) -> tuple[Keys, str]:
    """A validator of a whole model begins its message with the key that it is about."""
    named = NAMED_KEY.fullmatch(line)
    if named and place.holds and named[1].partition(".")[0] in settings(place.holds):
        return (*place.keys, *named[1].split(".")), named[2]
    return place.keys, line


def _plain(message: str, given: object) -> str:
    said = SHOULD.sub("must ", message.partition(", unable to parse")[0])
    return f"{said}, not {_short(given)}"


def _joined(said: Sequence[str]) -> str:
    """Joins the lines about one key; there is one for each type that it may have."""
    typed = [match for match in map(A_TYPE.fullmatch, said) if match]
    if len(typed) < max(2, len(said)):
        return "; ".join(dict.fromkeys(said))
    return f"must be {' or '.join(match[1] for match in typed)}, not {typed[0][2]}"


def _short(given: object) -> str:
    text = repr(given)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _named_kinds(tree: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, kind) of the stages of a tree that have both as text."""
    stages = tree.get("stages")
    maps = [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    pairs = [(stage.get("name"), stage.get("kind")) for stage in maps]
    return [(name, kind) for name, kind in pairs if isinstance(name, str) and isinstance(kind, str)]
