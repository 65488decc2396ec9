"""What an evaluation outside of a run measures: the named model and problems. Loads no model code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from actors.config import EngineConfig, FleetConfig, require_gpus
from cluster.recipe.base import require_model
from cluster.recipe.load import validated
from cluster.recipe.task import NoTask, named_task, task_of_run
from cluster.run.folder import RunFolder, find_run, is_run
from verifier.errors import UserError
from verifier.families import AnyTask


class Settings(BaseModel):
    """The part of a recipe that an evaluation needs, with the same keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: AnyTask
    engine: EngineConfig = EngineConfig()
    fleet: FleetConfig = FleetConfig()

    @model_validator(mode="after")
    def _engines_see_a_gpu(self) -> Self:
        require_gpus(self.engine, self.fleet)
        return self


@dataclass(frozen=True, slots=True)
class Target:
    """A model directory, the version of its weights, and the folder of the run that it belongs to."""

    directory: Path
    weight_version: int
    run: Path | None = None

    @classmethod
    def choose(cls, model: str, checkpoint: str | None) -> Self:
        """The run or the transformers directory that was named, after the checks that take no time.

        Raises UserError.
        """
        a_name = "/" not in model and not os.path.isdir(model)
        if a_name or (is_run(model) and not (Path(model) / "config.json").is_file()):
            return cls._of_run(find_run(model), checkpoint)
        if checkpoint is not None:
            raise UserError(f"{model} is not a run.", "Leave --checkpoint out, or name a run's folder.")
        require_model(Path(model))
        return cls(Path(model).resolve(), 0)

    @classmethod
    def _of_run(cls, folder: RunFolder, checkpoint: str | None) -> Self:
        manifest = folder.store.get(checkpoint) if checkpoint else folder.store.latest()
        if manifest is None:
            raise UserError(f"{folder.path} holds no good checkpoint.", "Name a run that got as far as one.")
        return cls(folder.store.path(manifest.id), manifest.step, folder.path)


def read_settings(task: str | None, run: Path | None, overrides: Sequence[str]) -> Settings:
    """The problems that `--task` names, else those of the run, and the engines; overrides are applied to both.

    Raises RecipeError and NoTask.
    """
    named = named_task(task) if task is not None else {} if run is None else task_of_run(run)
    if not named and not any(override.startswith(("task.", "task=")) for override in overrides):
        raise NoTask(
            "there are no problems to evaluate on.", "Name them: --task RECIPE, or task.ops=[2,3] for op-graph ones."
        )
    return validated(Settings, overrides, {"task": named})
