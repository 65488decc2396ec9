"""The learner as a run's controller holds it: a handle on N ranks, each a Ray actor.

When one dies, all end and every verb raises `LearnerLost`; `start` begins a new life, which holds the weights it was
planned with, so whoever starts it again loads the checkpoint to continue from.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray

from actors.weights.version import WeightVersion
from trainers.deaths import MAX_DEATHS, DeathLimit
from trainers.interruption import Interruptible
from trainers.learner_group.commands import LearnerLost, Load, PretrainJob, Publish, Save, Step, Verb
from trainers.learner_group.life import Life
from trainers.learner_group.placement import Placement, open_life, what_is_missing
from trainers.learner_group.rank import LearnerPlan
from trainers.records import Batch, StepReport

if TYPE_CHECKING:
    from trainers.pretrain.pretrain import TrainingProgress

_LOOK_S: Final = 1.0  # between two looks for what keeps the ranks from coming up
_NOT_STARTED: Final = "the learner was not started again after it was lost"


class LearnerGroup:
    """The learner as the controller sees it: start it, then one verb at a time."""

    def __init__(self, plan: LearnerPlan, placement: Placement) -> None:
        self.plan = plan
        self.placement = placement
        self.waits_for = ""
        self._life: Life | None = None
        self._interrupted = False
        self._starting = Interruptible()

    async def start(self) -> None:
        """Bring the ranks up, anew if they were lost, and wait until each has built its engine.

        They hold the weights that they were planned with. Raises LearnerLost if they do not come up, and ModelRefused.
        """
        await self._start(None)

    async def lost(self) -> None:
        """Wait until the ranks have ended, which may be for ever. Raises LearnerLost with the reason."""
        await self._living().lost()

    async def pids(self) -> tuple[int, ...]:
        """The processes of the ranks, in rank order. Raises LearnerLost."""
        return self._living().pids

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
        """Run a stage on texts to its end, or until `interrupt`, over deaths of its processes.

        Raises LearnerLost when they keep dying, and Interrupted when there is no step to end after.
        """
        deaths = DeathLimit(MAX_DEATHS)

        def tell(progress: TrainingProgress) -> None:
            deaths.reached(progress.step)
            report(progress)

        while True:
            try:
                await self._starting.run(self._start(job))
                if self._interrupted:
                    self._living().interrupt()
                return await self._living().pretrain(job, tell, self.placement.stall_timeout_s)
            except LearnerLost:
                if deaths.one_too_many():
                    raise

    async def interrupt(self) -> None:
        """Ask a stage on texts to save and end after the step it is in, or to start no more."""
        self._interrupted = True
        self._starting.interrupt()
        if self._life is not None:
            self._life.interrupt()

    async def stop(self) -> None:
        """End the ranks. Harmless when they are already gone."""
        life, self._life = self._life, None
        if life is not None:
            life.end(LearnerLost("the learner was stopped"))

    async def _start(self, job: PretrainJob | None) -> None:
        """`start`; with a `job`, also what makes its batches. Raises LearnerLost."""
        if self._life is not None and not self._life.over:
            assert job is None, "a stage on texts starts its learner itself, with what makes its batches"
            return
        self._life = life = open_life(self.plan, self.placement, job)
        try:
            await self._begun(life)
        except LearnerLost as lost:
            life.end(lost)
            raise

    async def _begun(self, life: Life) -> None:
        """Wait for all ranks, and say meanwhile what they may be waiting for. Raises LearnerLost."""
        began = time.monotonic()
        beginning = asyncio.ensure_future(life.begin(self.plan))
        try:
            while not beginning.done():
                self.waits_for = await asyncio.to_thread(what_is_missing, self.placement)
                if time.monotonic() - began > self.placement.start_timeout_s:
                    raise LearnerLost(f"not up in {self.placement.start_timeout_s:g} s: {self.waits_for}")
                await asyncio.wait([beginning], timeout=_LOOK_S)
            await beginning
        finally:
            beginning.cancel()
            self.waits_for = ""

    def _living(self) -> Life:
        if self._life is None:
            raise LearnerLost(_NOT_STARTED)
        return self._life

    async def _ask(self, verb: Verb) -> Any:
        return await self._living().ask(verb, self.placement.stall_timeout_s)
