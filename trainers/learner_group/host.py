"""The actor that owns one life of the learner: the queue of its verbs, and the Ray Train run that answers them.

Whoever kills this actor ends all of it, since Ray ends what a dead actor owned. Ray Train places the workers and forms
their process group; it restarts none of them, because a rank without the others' state is of no use: a new life does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError

from trainers.learner_group.commands import CommandQueue, PretrainJob
from trainers.learner_group.rank import LearnerPlan, work
from trainers.pretrain.ahead import Ahead, BatchMaker


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the workers run, and how long to wait for them: until all are up, and for a sign of life at work.

    `env` is set in their processes before torch is imported.
    """

    workers: int
    cpus: float
    gpus: float
    env: dict[str, str]
    storage: Path
    start_timeout_s: float = 600.0
    stall_timeout_s: float = 1800.0


class LearnerHost(CommandQueue):
    """A Ray actor; see the module."""

    async def make_batches(self, job: PretrainJob, plan: LearnerPlan, placement: Placement) -> None:
        """Start the processes that make a stage's batches, as many as there are ranks; they end with this actor."""
        maker: Any = ray.remote(BatchMaker).options(num_cpus=0, runtime_env={"env_vars": placement.env})
        given = (job.config, plan.tokenizer, job.data_seed, job.drawn)
        self._ahead = Ahead([maker.remote(*given) for _ in range(placement.workers)])

    async def batch(self, step: int) -> list[Any]:
        """For ranks: a reference to the batch of a step, in a list, so that Ray does not look behind it."""
        self._hear()
        return [self._ahead.batch(step)]

    async def run(self, plan: LearnerPlan, placement: Placement) -> None:
        """Keep the Ray Train run until it ends, and tell its end to whoever waits."""
        this = ray.get_runtime_context().current_actor
        try:
            cause = await asyncio.to_thread(_fit, plan, placement, this)
        except Exception as error:
            cause = f"the learner's run ended in an error that nobody foresaw: {type(error).__name__}: {error}"
        await self.close(cause)


def _fit(plan: LearnerPlan, placement: Placement, host: Any) -> str:
    """Run Ray Train until the workers are told to stop or one dies; why it ended."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": placement.cpus} | ({"GPU": placement.gpus} if placement.gpus else {})
    trainer = TorchTrainer(
        work,
        train_loop_config={"plan": plan, "queue": host},
        torch_config=TorchConfig(backend="nccl" if placement.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=placement.workers, use_gpu=placement.gpus > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name="learner",
            storage_path=str(placement.storage),
            failure_config=FailureConfig(max_failures=0),
            worker_runtime_env={"env_vars": placement.env},
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        return f"a learner process died: {error}"
    except RayActorError as error:
        return f"Ray Train's own controller died: {error}"
    return "the learner was stopped"
