"""The problems of a command that runs no recipe: those of a run, of a recipe, or of the user's own code.

Code is imported only if it is named on the command line, since a run folder may come from a stranger.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.recipe.faults import faults
from cluster.recipe.load import refusal, tree_of
from verifier.errors import UserError
from verifier.families import AnyTask, TaskConfig

CODE: Final = "python"
"""The family whose problems are code."""


class NoTask(UserError):
    """There are no problems to use, or none that may be used unless they are named."""


class _Named(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    task: AnyTask


def named_task(name: str) -> dict[str, Any]:
    """The settings, unchecked, that `--task` names: `package.module:factory`, a recipe by name or file (its task), or a
    YAML file of a task's settings. Raises RecipeError and NoTask.
    """
    if ":" in name:
        return {"family": CODE, "object": name}
    tree = tree_of(name)
    task = tree if "stages" not in tree else task_settings(tree)
    if task is None:
        raise NoTask(f"no stage of {name} has a task.", "Name a recipe with a task, or package.module:factory.")
    return task


def task_of_run(folder: Path) -> dict[str, Any]:
    """The settings of the run's own task, unchecked. Raises NoTask if there is none, or if it is code."""
    file = folder / "recipe.yaml"
    task = task_settings(tree_of(str(file))) if file.is_file() else None
    if task is None:
        raise NoTask(f"{folder} has no recipe with a task.", "Name the problems: --task RECIPE.")
    if task.get("family") == CODE:
        raise NoTask(
            f"the problems of {folder} are made by code, {task.get('object')}, which is imported only if you name it.",
            f"If you trust it, name it: --task {task.get('object')}",
        )
    return task


def task_settings(tree: Mapping[str, Any]) -> dict[str, Any] | None:
    """The task of a recipe's last evaluation, else of its last other stage that has one."""
    stages = tree.get("stages")
    maps = [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    found = [
        (kind == "eval", part["task"])
        for stage in maps
        for kind, part in stage.items()
        if isinstance(part, dict) and isinstance(part.get("task"), dict)
    ]
    measured = [task for is_eval, task in found if is_eval]
    return (measured or [task for _, task in found] or [None])[-1]


def opened(task: Mapping[str, Any]) -> TaskConfig:
    """The settings, checked; their task is opened once. Raises RecipeError."""
    try:
        return _Named.model_validate({"task": task}).task
    except ValidationError as error:
        raise refusal("the problems", faults(error, _Named, {"task": task})) from error
