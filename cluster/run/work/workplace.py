"""The actors of a run: its controller, the placement of its learner, and the Ray that they run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import ray
import ray.exceptions

from cluster.ray.environment import actor_env, cache_folder
from cluster.ray.packaging import own_folder
from cluster.ray.resources import Resources, memory_gib
from cluster.ray.runtime import running
from cluster.recipe.config import LEARNING, Recipe, Stage
from cluster.run.folder import RunFolder
from trainers.controller import Controller, ControllerPlan
from trainers.learner_group.placement import Placement
from trainers.status import controller_name

NEEDS_RAY = (*LEARNING, "eval")
CLOSE_S: Final = 30.0


class Workplace:
    """The actors of one run; the controller is started at its first use."""

    def __init__(self, recipe: Recipe, folder: RunFolder) -> None:
        self.recipe = recipe
        self.folder = folder
        self._controller: Any = None

    @property
    def controller(self) -> Any:
        """The handle of the run's controller actor."""
        if self._controller is None:
            recipe = self.recipe
            plan = ControllerPlan(
                run=self.folder.name,
                run_dir=self.folder.path,
                seed=recipe.seed,
                bands=recipe.bands,
                engine=recipe.engine,
                fleet=recipe.fleet,
                learner=self.placement(),
                env=actor_env(cache_folder(os.environ), recipe.engine.threads),
            )
            actor = ray.remote(Controller).options(
                name=controller_name(self.folder.path), num_cpus=0, max_concurrency=1000, max_restarts=0
            )
            self._controller = actor.remote(plan)
        return self._controller

    def placement(self) -> Placement:
        """Where the learner's processes run."""
        learner = self.recipe.learner
        env = {
            **actor_env(cache_folder(os.environ), learner.threads),
            **({} if learner.gpus else {"DS_ACCELERATOR": "cpu"}),
        }
        name = f"learner of {controller_name(self.folder.path)}"
        return Placement(name, learner.workers, learner.cpus, learner.gpus, env)

    def forget_controller(self) -> None:
        """Drop a controller that died; Ray ends the workers that it owned, and the next use starts another."""
        ray.kill(self._controller)
        self._controller = None

    def close(self) -> None:
        """End the workers."""
        if self._controller is not None:
            end(self._controller)


def end(controller: Any) -> None:
    """End a controller, after the workers if it ends them in time: what it has made is safe by now."""
    with suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
        ray.get(controller.close.remote(), timeout=CLOSE_S)
    ray.kill(controller)


@contextmanager
def workplace(
    recipe: Recipe, folder: RunFolder, address: str | None, insecure: bool, wait_s: float, left: list[Stage]
) -> Iterator[Workplace]:
    """The actors of a run, on a Ray if any stage that is left needs one."""
    if not any(stage.kind in NEEDS_RAY for stage in left):
        yield Workplace(recipe, folder)
        return
    own = own_folder(recipe.model_dump(mode="json"), Path.cwd())
    with running(folder.path, asked(recipe), address=address, insecure=insecure, wait_s=wait_s, own=own):
        workplace = Workplace(recipe, folder)
        try:
            yield workplace
        finally:
            workplace.close()


def asked(recipe: Recipe) -> Resources:
    """The resources that the recipe needs when all its workers run at once."""
    fleet, learner = recipe.fleet, recipe.learner
    processes = fleet.rollout_workers * recipe.engine.tensor_parallel
    on_host = recipe.engine.kv_cache_mib / 1024 if recipe.engine.device == "cpu" else 0.0
    return Resources(
        cpus=fleet.rollout_workers * fleet.rollout_cpus
        + fleet.reward_workers * fleet.reward_cpus
        + learner.workers * learner.cpus,
        gpus=fleet.rollout_workers * fleet.rollout_gpus + learner.workers * learner.gpus,
        memory_gib=memory_gib(processes, fleet.reward_workers, learner.workers, on_host),
    )
