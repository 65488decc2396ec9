"""What of a recipe decides a run's results, and what may change while the run goes on.

Keys are written as on the command line: `stages.rl.rl.steps`. Pure functions of recipes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from cluster.recipe.config import PretrainStage, Recipe, RlStage, Stage

FREE_KEYS: Final = frozenset({"description", "fleet", "learner", "trackers"})
"""Where a run's processes are and what it is called: the results are the same."""
FREE_STAGE_KEYS: Final = frozenset({"checkpoint_every", "keep_last", "report_every"})
"""How often a stage saves and tells, and what it keeps."""


class Change(NamedTuple):
    """One key with two values, None where a recipe does not have it."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_typed(self.old)} -> {_typed(self.new)}"


def refused(old: Recipe, new: Recipe, done: Collection[str]) -> list[str]:
    """What keeps a run of `old`, whose stages `done` are done, from going on as `new`: one line for each key."""
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    stages_before, stages_after = before.pop("stages"), after.pop("stages")
    changes = _changes("", before, after)
    lines = [str(change) for change in changes if change.key.partition(".")[0] not in FREE_KEYS]
    names, new_names = ([stage.name for stage in recipe.stages] for recipe in (old, new))
    if names != new_names:
        return [*lines, f"stages: {', '.join(names)} -> {', '.join(new_names)}"]
    for stage, *pair in zip(old.stages, stages_before, stages_after, strict=True):
        for change in _changes(f"stages.{stage.name}", *pair):
            why = "the stage is done" if stage.name in done else _objection(stage, change)
            if why is not None:
                lines.append(f"{change} ({why})" if why else str(change))
    return lines


def _objection(stage: Stage, change: Change) -> str | None:
    """Why a key of a stage that is not done cannot change; None if it can, empty where the key says it all."""
    *_, section, last = change.key.split(".")
    if last in FREE_STAGE_KEYS:
        return None
    if section not in ("train", "rl") or last != "steps" or None in (change.old, change.new):
        return ""
    if change.new < change.old:
        return "steps can only be added"
    return "the cosine schedule is laid out over the steps" if _schedule(stage) == "cosine" else None


def _schedule(stage: Stage) -> str | None:
    match stage:
        case PretrainStage():
            return stage.train.optimizer.schedule
        case RlStage():
            return stage.rl.learning.optimizer.schedule
        case _:
            return None


def _changes(path: str, old: Any, new: Any) -> Iterator[Change]:
    """The leaves in which two trees differ; a list is a leaf."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _changes(f"{path}.{key}" if path else key, old.get(key), new.get(key))
    elif old != new:
        yield Change(path, old, new)


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
