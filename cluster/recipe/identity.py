"""Which keys of a recipe decide a run's results, which may change when it is resumed, and which stages runs share.

Keys are written as on the command line: `stages.rl.rl.steps`. Pure functions of recipes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from types import MappingProxyType
from typing import Any, Final, NamedTuple, get_args

from cluster.recipe.config import PretrainStage, Recipe, RejectionStage, RlStage, SftStage, Stage
from trainers.budget import Unit

FREE_KEYS: Final = frozenset({"description", "fleet", "learner", "trackers"})
"""Keys that do not change a run's results: its description, and where its processes are."""
TRAINING: Final = ("train", "sft", "rejection", "rl")
"""The sections of the stages that train."""
FREE_STAGE_KEYS: Final = frozenset({"checkpoint_every", "keep_last", "keep_rollouts", "report_every"})
"""How often a stage saves and reports, and how many checkpoints and rollouts it keeps."""
DECIDED_BY: Final = MappingProxyType(
    {
        "base": (),
        "tokenizer": ("seed",),
        "pretrain": ("seed", "policy"),
        "midtrain": ("seed",),
        "sft": ("seed",),
        "eval": ("engine", "bands"),  # the held-out problems and their draws are the same for every seed
        "report": (),
    }
)
"""The keys of a recipe that decide what a stage of a kind makes, besides the stage's own."""
USUALLY: Final = ("seed", "engine")


class Change(NamedTuple):
    """A key with its values in two recipes; None where a recipe does not have it."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_typed(self.old)} -> {_typed(self.new)}"


def refused(old: Recipe, new: Recipe, done: Collection[str]) -> list[str]:
    """Why a run of `old` cannot be resumed as `new` when its stages `done` are done: one line for each key."""
    before, after = (_deciding(recipe) for recipe in (old, new))
    stages_before, stages_after = before.pop("stages"), after.pop("stages")
    lines = [str(change) for change in changes(before, after) if change.key.partition(".")[0] not in FREE_KEYS]
    names, new_names = ([stage.name for stage in recipe.stages] for recipe in (old, new))
    if names != new_names:
        return [*lines, f"stages: {', '.join(names)} -> {', '.join(new_names)}"]
    for stage, was, now in zip(old.stages, stages_before, stages_after, strict=True):
        for change in changes(was, now, f"stages.{stage.name}"):
            why = "the stage is done" if stage.name in done else _objection(stage, change)
            if why is not None:
                lines.append(f"{change} ({why})" if why else str(change))
    return lines


def identities(recipe: Recipe) -> dict[str, str]:
    """A hash of what decides the result of each stage, by the stage's name: of equal stages only one has to be run.

    It covers the stage's own keys and those of DECIDED_BY, without the free ones, and the identity of the stage before.
    A base that is named by its path counts as the path, whatever its content.
    """
    tree = recipe.model_dump(mode="json")
    found: dict[str, str] = {}
    before = ""
    for stage, own in zip(recipe.stages, tree["stages"], strict=True):
        decided = {key: tree[key] for key in DECIDED_BY.get(stage.kind, USUALLY)}
        if stage.kind == "tokenizer":  # it is trained on the texts of the pre-training that follows
            decided["task"] = next(s["train"]["task"] for s in tree["stages"] if s["kind"] == "pretrain")
        before = found[stage.name] = _digest([before, _bound(own), decided])
    return found


def _bound(stage: dict[str, Any]) -> dict[str, Any]:
    """A stage's keys without the free ones."""
    return {
        key: {k: v for k, v in value.items() if k not in FREE_STAGE_KEYS} if isinstance(value, dict) else value
        for key, value in stage.items()
    }


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """The keys of a recipe as plain data, without `policy` where it is unused because the run starts from a base."""
    tree = recipe.model_dump(mode="json")
    first = next((stage.kind for stage in recipe.stages if stage.kind in ("base", "pretrain")), "base")
    if first == "base":
        del tree["policy"]
    return tree


def _objection(stage: Stage, change: Change) -> str | None:
    """Why a key of a stage that is not done cannot change; None if it can, empty if no more need be said."""
    *_, section, last = change.key.split(".")
    if last in FREE_STAGE_KEYS:
        return None
    if section not in TRAINING or last not in get_args(Unit) or None in (change.old, change.new):
        return ""
    if change.new < change.old:
        return f"{last} can only be added"
    if last == "steps" and isinstance(stage, RlStage) and stage.rl.order == "deterministic" and stage.rl.max_staleness:
        return "with order deterministic the first added steps need groups of weights that are gone"
    return f"the cosine schedule is laid out over the {last}" if _schedule(stage) == "cosine" else None


def _schedule(stage: Stage) -> str | None:
    match stage:
        case PretrainStage():
            return stage.train.optimizer.schedule
        case SftStage():
            return stage.sft.optimizer.schedule
        case RejectionStage():
            return stage.rejection.optimizer.schedule
        case RlStage():
            return stage.rl.learning.optimizer.schedule
        case _:
            return None


def changes(old: Any, new: Any, path: str = "") -> Iterator[Change]:
    """The leaves in which two trees below `path` differ; a list is a leaf."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from changes(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield Change(path, old, new)


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
