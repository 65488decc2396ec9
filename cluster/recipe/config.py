"""Recipes: one YAML file says what a run does; this module reads, overrides, validates and writes them.

A recipe composes the config models that stand next to the code they configure; the only fields of its own are the name,
the seed, the bands, the size of the fleet and the list of stages. Unknown keys are refused with the nearest known one.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from actors.config import EngineConfig, FleetConfig, PolicyConfig, TokenizerConfig
from trainers.config import PretrainConfig, RlConfig
from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import EvalConfig
from verifier.errors import UserError
from verifier.families import UNOPENED

M = TypeVar("M", bound=BaseModel)
Tracker = Literal["tensorboard", "wandb"]
MAX_RECIPE_BYTES = 64 * 1024
STAGE_NAME = r"^[a-z][a-z0-9-]{0,31}$"


class RecipeError(UserError):
    """A recipe that is not one: the message names the file or the path of the key at fault."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LearnerFleet(_Model):
    """The learner's processes: data-parallel ranks and what each may use."""

    workers: int = Field(default=1, ge=1)
    cpus: float = Field(default=0.1, gt=0, description="what Ray reserves for a rank")
    gpus: float = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1, description="torch threads of a rank")


class _Stage(_Model):
    name: str = Field(pattern=STAGE_NAME)


class TokenizerStage(_Stage):
    """Train the task tokenizer."""

    kind: Literal["tokenizer"]
    tokenizer: TokenizerConfig


class BaseStage(_Stage):
    """Start from a checkpoint that ships with the package, one of another run, or a transformers directory."""

    kind: Literal["base"]
    base: str = Field(
        min_length=1,
        description="name of a shipped base, or a path: RUN/checkpoints/ID, or any transformers directory",
    )


class PretrainStage(_Stage):
    """Next-token training on gold traces, from scratch or from the stage before (mid-training)."""

    kind: Literal["pretrain", "midtrain"]
    train: PretrainConfig


class RlStage(_Stage):
    """Reinforcement learning from the stage before."""

    kind: Literal["rl"]
    rl: RlConfig


class EvalStage(_Stage):
    """Pass@k of the newest checkpoint on held-out problems."""

    kind: Literal["eval"]
    eval: EvalConfig


class ReportStage(_Stage):
    """Write report.json and report.html."""

    kind: Literal["report"]


Stage = Annotated[
    TokenizerStage | BaseStage | PretrainStage | RlStage | EvalStage | ReportStage, Field(discriminator="kind")
]


class Recipe(_Model):
    """Everything that determines a run. Two runs of one recipe on one machine kind give the same bytes (sync, CPU)."""

    name: str = Field(pattern=STAGE_NAME)
    description: str
    seed: int = Field(default=0, ge=0)
    fleet: FleetConfig
    learner: LearnerFleet = LearnerFleet()
    policy: PolicyConfig
    engine: EngineConfig
    bands: Bands = Bands()
    trackers: tuple[Tracker, ...] = Field(default=(), description="dashboards to write besides metrics.jsonl")
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _stages_make_sense(self) -> Self:
        names = [s.name for s in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stage names must differ; these are {names}")
        have_tokenizer = have_weights = False
        for stage in self.stages:
            if stage.kind in ("rl", "eval", "midtrain") and not have_weights:
                raise ValueError(f"stage {stage.name!r} needs a base or pretrain stage before it")
            if stage.kind == "pretrain" and not (have_tokenizer or have_weights):
                raise ValueError(f"stage {stage.name!r} needs a tokenizer stage before it")
            have_tokenizer |= stage.kind == "tokenizer"
            have_weights |= stage.kind in ("base", "pretrain")
        return self


def shipped() -> list[str]:
    """The names of the recipes that come with the package."""
    folder = resources.files("cluster") / "recipes"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load(name_or_path: str, overrides: Sequence[str] = (), open_tasks: bool = True) -> Recipe:
    """The recipe of a shipped name or a file, with `key.path=value` overrides applied. Raises RecipeError.

    Without `open_tasks` nothing that its tasks name is read or imported (`verifier.families.UNOPENED`).
    """
    tree = settings(name_or_path, overrides)
    try:
        return Recipe.model_validate(tree, context=None if open_tasks else UNOPENED)
    except ValidationError as error:
        raise RecipeError(f"recipe {name_or_path}: {explain(error)}", "correct the keys named above") from error


def settings(name_or_path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a recipe says, unchecked: its keys as plain data, with the overrides. Raises RecipeError."""
    tree = _parse(_read(name_or_path), name_or_path)
    for override in overrides:
        _override(tree, override)
    return tree


def validated(model: type[M], overrides: Sequence[str], base: Mapping[str, Any] | None = None) -> M:
    """A settings model from overrides of `base`. Raises RecipeError."""
    tree: dict[str, Any] = copy.deepcopy(dict(base or {}))
    for override in overrides:
        _override(tree, override)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"settings: {explain(error)}", "correct the keys named above") from error


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML; `load` of it gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


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


# The last two: nesting too deep for Python; numbers of thousands of digits, and bytes that are no UTF-8.
NOT_PLAIN = (yaml.YAMLError, RecursionError, ValueError)


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases: nothing is built but numbers, strings, lists and maps, and nothing can blow up."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed in a recipe")
        return super().compose_node(parent, index)  # pyright: ignore[reportArgumentType]


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        tree = yaml.load(data, Loader=_PlainLoader)  # noqa: S506  # a SafeLoader
    except NOT_PLAIN as error:
        raise RecipeError(f"recipe {name} is not plain YAML: {error}", "correct the file") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"recipe {name} is not a map of keys", "begin with name, seed, stages")
    return tree


def _override(tree: dict[str, Any], override: str) -> None:
    """Set `key.path=value`; list items are addressed by their number, stages also by their name."""
    path, sign, text = override.partition("=")
    if not sign or not path:
        raise RecipeError(f"{override!r} is not an override", "write key.path=value, for example seed=3")
    *parents, last = path.split(".")
    node: Any = tree
    for key in parents:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[_index(node, key, path)]
    value = _parse_value(text, override)
    if isinstance(node, dict):
        node[last] = value
    else:
        node[_index(node, last, path)] = value


def _parse_value(text: str, override: str) -> Any:
    try:
        return yaml.load(text, Loader=_PlainLoader)  # noqa: S506  # a SafeLoader
    except NOT_PLAIN as error:
        raise RecipeError(f"{override[:200]!r}: the value is not YAML", "quote it, or write a number") from error


def _index(node: Any, key: str, path: str) -> int:
    if isinstance(node, list):
        names = [item.get("name") if isinstance(item, dict) else None for item in node]
        if key in names:
            return names.index(key)
        if key.isdigit() and int(key) < len(node):
            return int(key)
        raise RecipeError(f"{path}: no item {key!r}", f"use one of {[n for n in names if n]}")
    raise RecipeError(f"{path}: {key!r} is below a plain value", "address an existing key")


def explain(error: ValidationError) -> str:
    """The errors in one line, each at its key."""
    return "; ".join(_line(e["loc"], e["type"], e["msg"]) for e in error.errors(include_url=False)[:5])


def _line(location: tuple[int | str, ...], kind: str, message: str) -> str:
    path = ".".join(str(part) for part in location)
    if kind != "extra_forbidden":
        return f"{path or 'recipe'}: {message.removeprefix('Value error, ')}"
    near = difflib.get_close_matches(str(location[-1]), sorted(_known_keys(Recipe)), n=1)
    return f"{path}: unknown key" + (f"; did you mean {near[0]}?" if near else "")


def _known_keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key that any part of a recipe knows; the nearest one is only a hint, so their place does not matter."""
    seen: set[type[BaseModel]] = set()
    open_models = [model, TokenizerStage, BaseStage, PretrainStage, RlStage, EvalStage, ReportStage]
    while open_models:
        current = open_models.pop()
        if current not in seen:
            seen.add(current)
            yield from current.model_fields
            kinds = (f.annotation for f in current.model_fields.values())
            open_models += [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
