"""The learner as a run's controller holds it: a handle on N Ray Train workers, each with one rank.

They take verbs from a host actor, so the handle needs no thread of its own. What a worker does is
`trainers.learner_group.rank`. When one dies, all end and every verb raises `LearnerLost`; `start` begins a new life,
which holds the weights it was planned with, so whoever starts it again loads the checkpoint to continue from.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import ray
from ray.exceptions import RayActorError

from actors.weights.version import WeightVersion
from trainers.deaths import MAX_DEATHS, DeathLimit
from trainers.interruption import Interruptible
from trainers.learner_group.commands import LearnerLost, Load, PretrainJob, Publish, Save, Step, Stop, Verb
from trainers.learner_group.host import LearnerHost, Placement
from trainers.learner_group.orphans import remove_orphans
from trainers.learner_group.rank import LearnerPlan
from trainers.records import Batch, StepReport

if TYPE_CHECKING:
    from trainers.pretrain.pretrain import TrainingProgress

_LOOK_S: Final = 1.0  # between two looks for what keeps the workers from coming up
_NOT_STARTED: Final = "the learner was not started again after it was lost"
_STOP_S: Final = 30.0  # for the workers to end by themselves


class LearnerGroup:
    """The learner as the controller sees it: start it, then one verb at a time."""

    def __init__(self, plan: LearnerPlan, placement: Placement) -> None:
        self.plan = plan
        self.placement = placement
        self.waits_for = ""
        self._host: Any = None
        self._life: asyncio.Future[None] | None = None  # done, with LearnerLost, when the workers have ended
        self._job: PretrainJob | None = None
        self._interrupted = False
        self._starting = Interruptible()

    async def start(self) -> None:
        """Bring the workers up, anew if they were lost, and wait until every rank has built its engine.

        They hold the weights that they were planned with. Raises LearnerLost if they do not come up.
        """
        if self._host is not None and await self._over():
            await self.stop()
        if self._host is None:
            actor = cast("Any", ray.remote(LearnerHost)).options(num_cpus=0, max_concurrency=1000)
            self._host = actor.remote(self.placement.workers)
            self._host.run.remote(self.plan, self.placement)
            if self._job is not None:
                self._host.make_batches.remote(self._job, self.plan, self.placement)
        try:
            await self._joined()
        except LearnerLost:
            await self.stop()
            raise
        self._life = asyncio.ensure_future(self._answer(self._host.ended.remote()))
        self._life.add_done_callback(lambda life: life.cancelled() or life.exception())  # nobody has to ask for it

    async def lost(self) -> None:
        """Wait until the workers have ended, which may be for ever. Raises LearnerLost with the reason."""
        if self._life is None:
            raise LearnerLost(_NOT_STARTED)
        await asyncio.shield(self._life)

    async def pids(self) -> tuple[int, ...]:
        """The processes of the ranks, in rank order. Raises LearnerLost."""
        return await self._answer(self._host.pids.remote())

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
        """Run a pre-training stage to its end, or until `interrupt`, over deaths of its processes.

        Raises LearnerLost when they keep dying, and Interrupted when there is no step to end after.
        """
        self._job = job
        deaths = DeathLimit(MAX_DEATHS)

        def tell(progress: TrainingProgress) -> None:
            deaths.reached(progress.step)
            report(progress)

        while True:
            try:
                await self._starting.run(self.start())
                return await self._pretrain(job, tell)
            except LearnerLost:
                if deaths.one_too_many():
                    raise

    async def interrupt(self) -> None:
        """Ask a pre-training stage to save and end after the step it is in, or to start no more."""
        self._interrupted = True
        self._starting.interrupt()
        if self._host is not None:
            with suppress(RayActorError):  # its end is told to whoever waits for the stage
                await self._host.interrupt.remote()

    async def stop(self) -> None:
        """End the workers. Harmless when they are already gone."""
        if self._host is None:
            return
        host, self._host = self._host, None
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            with suppress(RayActorError, TimeoutError):  # what does not end by itself ends with its host
                async with asyncio.timeout(_STOP_S):
                    await host.post.remote(Stop())
                    await host.ended.remote()
        ray.kill(host)

    async def _over(self) -> bool:
        try:
            return await self._host.over.remote()
        except RayActorError:
            return True

    async def _joined(self) -> None:
        """Wait for all ranks, and free meanwhile what dead owners keep from them. Raises LearnerLost."""
        began = time.monotonic()
        joined = asyncio.ensure_future(self._answer(self._host.joined.remote()))
        try:
            while not joined.done():
                self.waits_for = await asyncio.to_thread(_what_is_missing, self.placement)
                if time.monotonic() - began > self.placement.start_timeout_s:
                    raise LearnerLost(f"not up in {self.placement.start_timeout_s:g} s: {self.waits_for}")
                await asyncio.wait([joined], timeout=_LOOK_S)
            await joined
        finally:
            joined.cancel()
            self.waits_for = ""

    async def _ask(self, verb: Verb) -> Any:
        if self._host is None:
            raise LearnerLost(_NOT_STARTED)
        return await self._answer(self._host.ask.remote(verb, self.placement.stall_timeout_s))

    async def _answer(self, reply: Any) -> Any:
        try:
            answer = await reply
        except RayActorError as error:
            raise LearnerLost(f"the learner's host died: {error}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _pretrain(self, job: PretrainJob, report: Callable[[TrainingProgress], None]) -> TrainingProgress:
        """The stage in this life of the workers. Raises LearnerLost."""
        telling = asyncio.create_task(self._tell(report))
        try:
            if self._interrupted:
                await self.interrupt()
            return await self._ask(job)
        finally:
            with suppress(RayActorError):
                await self._host.told.remote()
            await telling

    async def _tell(self, report: Callable[[TrainingProgress], None]) -> None:
        """Pass progress on as it is told, until the last of it."""
        seen = 0
        with suppress(RayActorError):
            while told := await self._host.progress_after.remote(seen):
                for progress in told:
                    report(progress)
                seen += len(told)


def _what_is_missing(placement: Placement) -> str:
    """What the workers may be waiting for, after what dead owners still held is free again."""
    remove_orphans()
    free = ray.available_resources()
    asked = {"CPU": placement.cpus, "GPU": placement.gpus}
    needs = ", ".join(f"{amount:g} {kind} ({free.get(kind, 0.0):g} free)" for kind, amount in asked.items() if amount)
    return f"waits for {placement.workers} learner process(es), each with {needs}"
