"""Every key of a recipe, taken from the settings models: its values, its default, its unit, its meaning.

A field's description gives its meaning, with the unit in brackets at the end. Keys are written as on the command line:
a stage by its kind, which is also the name of a stage that is given none, and the first item of a list by its number.
"""

from __future__ import annotations

import functools
import json
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, PlainSerializer
from pydantic.fields import FieldInfo

from cluster.recipe.config import Recipe
from trainers.algorithms.registry import ALGORITHMS
from trainers.config import LearningConfig
from verifier.families import DEFAULT_FAMILY, FAMILIES, TaskConfig, config_of

REQUIRED, OF_KIND, OF_ALGORITHM, OF_TASK = "required", "its kind", "the algorithm's", "by the task"
"""Words in the place of a default value."""
KNOBS = frozenset(knob for algorithm in ALGORITHMS.values() for knob in algorithm.knobs)
TAGS = ("kind", "rule")
"""Keys that say which model of a union is meant: a stage, or a claim of a study."""
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
NAMES = {bool: "true, false", int: "integer", float: "number", str: "text"}
DESCRIPTION = re.compile(r"(.*?)(?: \[([^\]]+)\])?", re.DOTALL)


class Key(NamedTuple):
    """One key. `unit` is empty for a number without one; `family` names the family whose tasks alone have the key."""

    path: str
    values: str
    default: str
    unit: str
    meaning: str
    family: str = ""

    def text(self) -> str:
        """The key in a few lines for a terminal."""
        default = self.default if self.default == REQUIRED else f"default {self.default}"
        head = f"{self.path}: {', '.join(filter(None, (self.values, self.unit, default)))}"
        whose = f"family {self.family}: " if self.family else ""
        return f"{head}\n    {whose}{self.meaning}"


class Part(NamedTuple):
    """A settings model within a field, and the step between the two in a path: nothing, a kind or a number."""

    step: str
    model: type[Any]


@functools.cache
def all_keys() -> tuple[Key, ...]:
    """The keys of a recipe, in the order of the models."""
    return tuple(_below("", Recipe))


def holding(text: str) -> list[Key]:
    """The keys whose path or choices contain a text."""
    return [key for key in all_keys() if text in key.path or text in key.values]


def settings(model: type[Any]) -> Mapping[str, FieldInfo]:
    """The fields of a settings model, which is a pydantic model or a dataclass that pydantic validates."""
    if issubclass(model, BaseModel):
        return model.model_fields
    hints = get_type_hints(model, include_extras=True)
    return {f.name: FieldInfo.from_annotated_attribute(hints[f.name], f.default) for f in fields(model)}


def keys_of(model: type[Any], path: str = "", family: str = "") -> Iterator[tuple[Key, FieldInfo]]:
    """The keys of one model, without those of the models within it."""
    for name, field in settings(model).items():
        meaning = DESCRIPTION.fullmatch(field.description or "")
        assert meaning is not None
        said, unit = meaning.groups(default="")
        yield Key(f"{path}{name}", _values(field), _default(model, name, field), unit, said, family), field


def parts(annotation: Any) -> list[Part]:
    """The settings models that a field may contain; a task may be of any family."""
    if annotation is TaskConfig:
        return [Part("", TaskConfig), *(Part("", config_of(name)) for name in FAMILIES)]
    if isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, BaseModel)):
        return [Part("", annotation)]
    inner = [part for argument in get_args(annotation) for part in parts(argument)]
    if inner and inner[0].model is TaskConfig:  # a task or none
        return inner
    if get_origin(annotation) in (Union, types.UnionType) and len(inner) > 1:
        return [Part(kind, part.model) for part in inner for kind in _kinds(part.model)]
    return [Part(part.step or "0", part.model) for part in inner] if _is_list(annotation) else inner


def inside(annotation: Any, data: Any) -> type[Any] | None:
    """The settings model that `data` of a recipe belongs to, in a field of this type; None if to none."""
    choices = parts(annotation)
    if choices and choices[0].model is TaskConfig:
        family = str(data.get("family", DEFAULT_FAMILY)) if isinstance(data, dict) else DEFAULT_FAMILY
        return config_of(family) if family in FAMILIES else TaskConfig
    kinds = [data.get(tag) for tag in TAGS] if isinstance(data, dict) else []
    return next((part.model for part in choices if part.step in ("", "0", *kinds)), None)


def _below(path: str, model: type[Any], family: str = "") -> Iterator[Key]:
    for key, field in keys_of(model, path, family):
        if family and key.path.removeprefix(path) in TaskConfig.model_fields:
            continue  # it was listed with the task, before its families
        within = parts(field.annotation)
        if not within:
            yield key
        for part in within:
            step = f"{part.step}." if part.step and not _may_be_one(field) else ""
            yield from _below(f"{key.path}.{step}", part.model, _family(part.model) or family)


def _family(model: type[Any]) -> str:
    own = isinstance(model, type) and issubclass(model, TaskConfig) and model is not TaskConfig
    return model.model_fields["family"].default if own else ""


def _kinds(model: type[Any]) -> tuple[str, ...]:
    return next(get_args(field.annotation) for tag in TAGS if (field := settings(model).get(tag)))


def _may_be_one(field: FieldInfo) -> bool:
    """Whether a list may be written as its one item, without brackets."""
    return _is_list(field.annotation) and any(isinstance(rule, BeforeValidator) for rule in field.metadata)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple and Ellipsis in get_args(annotation)


def _values(field: FieldInfo) -> str:
    """The allowed values: the choices, or a type with its bounds."""
    said = "map" if any(isinstance(rule, PlainSerializer) for rule in field.metadata) else _type(field.annotation)
    bounds = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in SIGNS.items()
        if hasattr(rule, name)
    ]
    return " ".join([said, ", ".join(bounds)]).strip()


def _type(annotation: Any) -> str:
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _type(arguments[0])
    if get_origin(annotation) is Literal:
        return ", ".join(map(str, arguments))
    if get_origin(annotation) is tuple:
        many = "list of" if Ellipsis in arguments else f"list of {len(arguments)}:"
        return f"{many} {_type(arguments[0])}"
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(a) for a in arguments if a is not type(None)))
    return NAMES.get(annotation, "map" if get_origin(annotation) is dict else "path")


def _default(model: type[Any], name: str, field: FieldInfo) -> str:
    if name == "name" and "kind" in settings(model):
        return OF_KIND
    if model is LearningConfig and name in KNOBS:
        return OF_ALGORITHM
    if field.is_required():
        return REQUIRED
    if field.default_factory is not None:
        return OF_TASK
    value = field.default
    if isinstance(value, BaseModel):
        return ""  # its keys have defaults of their own
    if isinstance(value, str) and value:
        return value
    return "none" if value is None else json.dumps(value)
