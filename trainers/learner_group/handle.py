"""The learner as a run's controller holds it: a handle on N Ray Train workers, each with one rank.

Ray Train places the workers, forms their process group and restarts them all when one dies. They take verbs from a
queue actor, so the handle needs no thread of its own and survives them. What a worker does is
`trainers.learner_group.rank`. A restarted group holds the weights it was planned with, so after a restart every verb
raises `LearnerLost` until `start`; whoever hears it loads the checkpoint to continue from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import ray
from ray.exceptions import RayActorError

from actors.weights.version import WeightVersion
from trainers.learner_group.commands import (
    CommandQueue,
    LearnerLost,
    Load,
    PretrainJob,
    Publish,
    Save,
    Step,
    Stop,
    Verb,
)
from trainers.learner_group.rank import LearnerPlan, work
from trainers.records import Batch, StepReport

if TYPE_CHECKING:
    from trainers.pretrain.pretrain import TrainingProgress

MAX_LEARNER_LOSSES: Final = 3


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the workers run. `env` is set in their processes before torch is imported."""

    workers: int
    cpus: float
    gpus: float
    env: dict[str, str]
    storage: Path
    max_restarts: int = 3


class LearnerGroup:
    """The learner as the controller sees it: start it, then one verb at a time."""

    def __init__(self, plan: LearnerPlan, placement: Placement) -> None:
        self.plan = plan
        self.placement = placement
        self.waits_for = ""
        self._queue: Any = None
        self._fit: asyncio.Task[None] | None = None
        self._life = 0  # the one that the caller knows of

    async def start(self) -> None:
        """Start the workers, or after LearnerLost wait until they are up again, and begin anew where Ray Train gave up.

        They hold the weights that they were planned with. Raises LearnerLost if they do not come up.
        """
        if self._fit is not None:
            try:
                self._life = await self._joined()
                return
            except LearnerLost:
                await self.stop()
        self._queue = (
            cast("Any", ray.remote(CommandQueue))
            .options(num_cpus=0, max_concurrency=1000)
            .remote(self.placement.workers)
        )
        self._fit = asyncio.create_task(self._run())
        self._life = await self._joined()

    async def pids(self) -> tuple[int, ...]:
        """The processes of the ranks, in rank order; waits for a restart that is under way. Raises LearnerLost."""
        await self._joined()
        return await self._queue.pids.remote()

    async def step(self, batch: Batch) -> StepReport:
        """One optimiser step. Raises LearnerLost."""
        return await self._ask(Step(ray.put(batch)))

    async def publish(self, version: int) -> WeightVersion:
        """Put the weights into the object store as `version`. Raises LearnerLost."""
        return await self._ask(Publish(version))

    async def save(self, directory: Path) -> None:
        """Fill `directory` with a checkpoint's files, the optimiser included. Raises LearnerLost."""
        await self._ask(Save(directory))

    async def load(self, directory: Path) -> None:
        """Continue exactly from a directory that `save` filled. Raises LearnerLost, ResumeError."""
        await self._ask(Load(directory))

    async def pretrain(self, job: PretrainJob, report: Callable[[TrainingProgress], None]) -> TrainingProgress:
        """Run a pre-training stage to its end (or until `interrupt`), over deaths of workers. Raises LearnerLost."""
        for losses in range(MAX_LEARNER_LOSSES + 1):
            try:
                return await self._pretrain(job, report)
            except LearnerLost:
                if losses == MAX_LEARNER_LOSSES:
                    raise
                await self.start()
        raise AssertionError("the last loss is raised")

    async def interrupt(self) -> None:
        """Ask a pre-training stage to save and end after the step it is in."""
        await self._queue.interrupt.remote()

    async def stop(self) -> None:
        """End the workers. Harmless when they are already gone."""
        if self._fit is None:
            return
        if not self._fit.done():
            with suppress(RayActorError):  # without a queue they end by themselves
                await self._queue.post.remote(Stop())
        await asyncio.gather(self._fit, return_exceptions=True)
        ray.kill(self._queue)
        self._fit = None

    async def _ask(self, verb: Verb) -> Any:
        return await self._answer(self._queue.ask.remote(verb, self._life))

    async def _joined(self) -> int:
        return await self._answer(self._queue.joined.remote())

    async def _answer(self, reply: Any) -> Any:
        try:
            answer = await reply
        except RayActorError as error:
            raise LearnerLost(f"the learner's queue died: {error}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _pretrain(self, job: PretrainJob, report: Callable[[TrainingProgress], None]) -> TrainingProgress:
        """The stage over the restarts of Ray Train. Raises LearnerLost when that gives up."""
        telling = asyncio.create_task(self._tell(report))
        try:
            while True:
                try:
                    return await self._ask(job)
                except LearnerLost:
                    self._life = await self._joined()
        finally:
            with suppress(RayActorError):
                await self._queue.told.remote()
            await telling

    async def _tell(self, report: Callable[[TrainingProgress], None]) -> None:
        """Pass progress on as it is told, until the last of it."""
        seen = 0
        with suppress(RayActorError):
            while told := await self._queue.progress_after.remote(seen):
                for progress in told:
                    report(progress)
                seen += len(told)

    async def _run(self) -> None:
        """Keep the Ray Train run; its end is told to whoever waits at the queue."""
        end = await asyncio.to_thread(_fit, self.plan, self.placement, self._queue)
        with suppress(RayActorError):
            await self._queue.close.remote(end)


def _fit(plan: LearnerPlan, placement: Placement, queue: Any) -> str | None:
    """Run Ray Train until the workers are told to stop; the cause if it ended otherwise."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": placement.cpus} | ({"GPU": placement.gpus} if placement.gpus else {})
    trainer = TorchTrainer(
        work,
        train_loop_config={"plan": plan, "queue": queue},
        torch_config=TorchConfig(backend="nccl" if placement.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=placement.workers, use_gpu=placement.gpus > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name="learner",
            storage_path=str(placement.storage),
            failure_config=FailureConfig(max_failures=placement.max_restarts),
            worker_runtime_env={"env_vars": placement.env},
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        return f"the learner's processes failed for good: {error}"
    except RayActorError as error:
        return f"Ray Train's own controller died: {error}"
    return None
