"""Evaluation as a command of its own: one model directory, one grid, no run folder.

The work is the controller's, as in a run; this module finds the model, starts the workers and prints the table.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import ray
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from actors.config import EngineConfig, FleetConfig
from actors.files import replace_text
from cluster.ray.environment import actor_env, cache_folder
from cluster.ray.packaging import own_folder
from cluster.ray.resources import Resources
from cluster.ray.runtime import running
from cluster.recipe.base import require_model
from cluster.recipe.load import validated
from cluster.recipe.task import NoTask, named_task, task_of_run
from cluster.run.folder import RunFolder, find_run, is_run
from cluster.run.progress import Reporter
from cluster.run.stages import follow
from trainers.controller import Controller, ControllerPlan
from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import EvalConfig, Evaluation, Kind, interval, kinds, powers
from trainers.learner_group.handle import Placement
from verifier.errors import UserError
from verifier.families import AnyTask
from verifier.seeds import derive
from verifier.task import labels


class Settings(BaseModel):
    """What a recipe says of these three, with the same keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: AnyTask
    engine: EngineConfig = EngineConfig()
    fleet: FleetConfig = FleetConfig()


@dataclass(frozen=True, slots=True)
class Target:
    """A model directory, the number its weights answer under, and the folder of the run that it is of."""

    directory: Path
    version: int
    run: Path | None = None

    @classmethod
    def choose(cls, model: str, checkpoint: str | None) -> Self:
        """The run or the transformers directory a person named, checked as far as that takes no time.

        Raises UserError.
        """
        if not (Path(model) / "config.json").is_file() and is_run(model):
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
    """The problems and the machinery: what `--task` names, else the run's own task, both changed by the overrides.

    Raises RecipeError and NoTask.
    """
    named = named_task(task) if task is not None else {} if run is None else task_of_run(run)
    if not named and not any(override.startswith("task.") for override in overrides):
        raise NoTask("there are no problems to ask.", "Name them: --task RECIPE, or task.ops=[2,3] for op-graph ones.")
    return validated(Settings, overrides, {"task": named})


def evaluate_directory(
    target: Target, config: EvalConfig, settings: Settings, address: str | None, out: Path | None
) -> Evaluation:
    """Sample and judge; the scores also go to `out` as JSON."""
    fleet = settings.fleet
    asked = Resources(
        fleet.rollout_workers * fleet.rollout_cpus + fleet.reward_workers * fleet.reward_cpus,
        fleet.rollout_workers * fleet.rollout_gpus,
    )
    own = own_folder(config.model_dump(mode="json"), Path.cwd())
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch), asked, address=address, own=own):
        env = actor_env(cache_folder(os.environ), settings.engine.threads)
        nowhere = Placement(0, 0, 0, env, Path(scratch))
        plan = ControllerPlan("eval", Path(scratch), derive(0, "eval"), Bands(), settings.engine, fleet, nowhere, env)
        actor: Any = ray.remote(Controller)
        controller = actor.options(num_cpus=0, max_concurrency=1000).remote(plan)
        result = controller.evaluate.remote("eval", target.directory, target.version, config)
        evaluation: Evaluation = asyncio.run(follow(controller, result, Reporter(target.directory.name).running))
        ray.get(controller.close.remote(), timeout=30)
    if out is not None:
        replace_text(out, json.dumps(evaluation.record()) + "\n")
    return evaluation


def print_grid(evaluation: Evaluation) -> None:
    """One line per stratum: pass@1 and at the largest k, by each reading that the scores have.

    The first reading, the strictest, has its interval: a second one would not fit into 80 columns.
    """
    names = labels(evaluation.strata())
    strictest, *others = kinds(evaluation.scores)
    most = powers(min(score.samples for score in evaluation.scores))[-1]
    said = {"strict": "verified", "outcome": "answer"}
    table = Table("stratum", "problems", f"{said[strictest]}@1", "95%", f"{said[strictest]}@{most}", box=None)
    for kind in others:
        table.add_column(f"{said[kind]}@1")
        table.add_column(f"{said[kind]}@{most}")
    for stratum, name in names.items():
        scores = [score for score in evaluation.scores if score.stratum == stratum]
        first = interval(scores, strictest, 1, 0)
        points: list[tuple[Kind, int]] = [(strictest, most), *((kind, k) for kind in others for k in (1, most))]
        means = [f"{interval(scores, *point, 0).mean:.3f}" for point in points]
        table.add_row(name, str(len(scores)), f"{first.mean:.3f}", f"{first.lo:.3f}-{first.hi:.3f}", *means)
    Console(file=sys.stdout, highlight=False).print(table)
