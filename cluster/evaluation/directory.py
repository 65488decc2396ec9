"""Evaluation as a command of its own: one model directory, one task, no run folder.

The work is the controller's, as in a run; this module starts the workers and prints the table.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import ray
from rich.console import Console
from rich.table import Table

from cluster.evaluation.target import Settings, Target
from cluster.ray.environment import actor_env, cache_folder
from cluster.ray.packaging import own_folder
from cluster.ray.resources import Resources
from cluster.ray.runtime import running
from cluster.run.work.following import follow
from cluster.run.work.progress import Reporter
from cluster.run.work.workplace import end
from trainers.controller import Controller, ControllerPlan
from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import EvalConfig, Evaluation, Kind, interval, kinds, powers
from trainers.evaluation.recovery import recovery_rate
from trainers.learner_group.placement import Placement
from verifier.seeds import derive
from verifier.task import labels

FEWER: Final = "Ask for fewer or smaller workers (fleet.rollout_workers=1 and the like), or join a cluster (--address)."
"""What an evaluation can do about too few resources."""


def evaluate_directory(
    target: Target, config: EvalConfig, settings: Settings, address: str | None, insecure: bool
) -> Evaluation:
    """Sample and judge. Raises the errors of `cluster.ray.runtime.running`."""
    fleet = settings.fleet
    asked = Resources(
        fleet.rollout_workers * fleet.rollout_cpus + fleet.reward_workers * fleet.reward_cpus,
        fleet.rollout_workers * fleet.rollout_gpus,
    )
    own = own_folder(config.model_dump(mode="json"), Path.cwd())
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(Path(scratch), asked, address=address, insecure=insecure, own=own, fix=FEWER),
    ):
        env = actor_env(cache_folder(os.environ), settings.engine.threads)
        nowhere = Placement("", 0, 0, 0, env)
        plan = ControllerPlan("eval", Path(scratch), derive(0, "eval"), Bands(), settings.engine, fleet, nowhere, env)
        actor: Any = ray.remote(Controller)
        controller = actor.options(num_cpus=0, max_concurrency=1000).remote(plan)
        result = controller.evaluate.remote("eval", target.directory, target.weight_version, config)
        evaluation: Evaluation = asyncio.run(follow(controller, result, Reporter(target.directory.name).running))
        end(controller)
    return evaluation


def print_grid(evaluation: Evaluation) -> None:
    """One line per stratum: pass@1 and pass@k at the largest k, by each reading that the scores have.

    The first reading, which is the strictest, has its interval: a second one would not fit into 80 columns.
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
    console = Console(file=sys.stdout, highlight=False, markup=False)
    console.print(table)
    if evaluation.recovery:
        rate = recovery_rate(evaluation.recovery, 0)
        errors = len(evaluation.recovery)
        console.print(f"recovered from {rate.mean:.3f} ({rate.lo:.3f}-{rate.hi:.3f}) of {errors} planted errors")
