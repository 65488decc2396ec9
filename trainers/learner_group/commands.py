"""Between the learner's handle and its ranks: the verbs, and the queue actor that carries them.

Pure waiting and counting: nothing here starts a process, computes, or touches a disk.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from actors.policy.checkpoint import Lineage
from trainers.budget import NOTHING, Spent
from trainers.config import TextTraining
from trainers.pretrain.rejection import Drawn
from verifier.errors import Failure

if TYPE_CHECKING:
    from trainers.pretrain.pretrain import TrainingProgress


class LearnerLost(Failure):
    """The learner's processes died, or never came up; the message names the first cause known."""


@dataclass(frozen=True, slots=True)
class PretrainJob:
    """A stage on texts as the workers run it; it continues from its own last checkpoint if there is one.

    `drawn` is what a rejection stage trains on; what drawing it cost is the first of what the stage spends.
    """

    config: TextTraining
    lineage: Lineage
    checkpoints: Path
    data_seed: int
    drawn: Drawn | None = None

    @property
    def begun(self) -> Spent:
        """What was spent before the first step."""
        return self.drawn.spent if self.drawn else NOTHING


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step on a batch in the object store."""

    batch: ray.ObjectRef[Any]


@dataclass(frozen=True, slots=True)
class Publish:
    """Put the weights into the object store."""

    version: int


@dataclass(frozen=True, slots=True)
class Save:
    """Write a checkpoint's files."""

    directory: Path


@dataclass(frozen=True, slots=True)
class Load:
    """Continue from a checkpoint's files."""

    directory: Path


@dataclass(frozen=True, slots=True)
class Stop:
    """End the worker."""


Verb = Step | Publish | Save | Load | PretrainJob | Stop


class CommandQueue:
    """Between the handle and the ranks of one life of the learner: one verb at a time, to all, answered by all.

    A rank that dies ends this life: every open and every later verb is answered with LearnerLost, and a new life has a
    new queue. Whatever a rank asks or tells counts as a sign of life.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._serial = 0
        self._verb: Verb | None = None
        self._ranks: dict[int, int] = {}  # rank -> pid
        self._answers: dict[int, Any] = {}
        self._open = False
        self._end: LearnerLost | None = None
        self._cause = ""  # why a rank ended, where it could say so
        self._interrupted = False
        self._progress: list[TrainingProgress] = []
        self._all_told = False
        self._heard_at = time.monotonic()
        self._changed = asyncio.Condition()

    async def join(self, rank: int, pid: int) -> int:
        """A rank reports for work; returns the serial number of the last verb before it."""
        async with self._changed:
            self._hear()
            self._ranks[rank] = pid
            self._changed.notify_all()
            return self._serial if not isinstance(self._verb, Stop) else self._serial - 1

    async def pids(self) -> tuple[int, ...]:
        """The processes of the ranks that are up, in rank order."""
        return tuple(self._ranks[rank] for rank in sorted(self._ranks))

    async def joined(self) -> LearnerLost | None:
        """Wait for all ranks; why they will not come, if they will not."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._end is not None or len(self._ranks) == self.workers)
            return self._end

    async def over(self) -> bool:
        """Whether this life has ended."""
        return self._end is not None

    async def ended(self) -> LearnerLost | None:
        """Wait for the end of this life; why it ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._end is not None)
            return self._end

    async def ask(self, verb: Verb, stall_s: float) -> Any:
        """Give a verb to all ranks; rank 0's answer once all have answered, or the first exception among theirs.

        When no rank gives a sign of life for `stall_s` seconds, this life is over.
        """
        async with self._changed:
            if self._end is not None:
                return self._end
            self._give(verb)
            self._hear()
            while self._open:
                await self._changed_within(self._heard_at + stall_s - time.monotonic())
                if self._open and time.monotonic() - self._heard_at >= stall_s:
                    self._end = LearnerLost(f"the learner hangs: no sign of a rank in {stall_s:g} s of {_name(verb)}")
                    self._settle(self._end)
            failed = (a for _, a in sorted(self._answers.items()) if isinstance(a, Exception))
            return next(failed, self._answers[0])

    async def post(self, verb: Verb) -> None:
        """Give a verb to all ranks without waiting."""
        async with self._changed:
            self._give(verb)

    async def verb_after(self, serial: int) -> tuple[int, Verb]:
        """For ranks: the next verb and its serial number."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._serial > serial)
            assert self._verb is not None
            self._hear()
            return self._serial, self._verb

    async def answer(self, rank: int, serial: int, answer: Any) -> None:
        """For ranks: the result of a verb. Those of a verb that is settled are dropped."""
        async with self._changed:
            self._hear()
            if serial != self._serial or not self._open:
                return
            self._answers[rank] = answer
            if len(self._answers) == self.workers:
                self._open = False
                self._changed.notify_all()

    async def failed(self, rank: int, cause: str) -> None:
        """For ranks: an error that ends this rank's process; it is told with the end of this life."""
        self._cause = f" (rank {rank}: {cause})"

    async def tell(self, progress: TrainingProgress) -> None:
        """For rank 0: progress of a pre-training stage."""
        async with self._changed:
            self._hear()
            self._progress.append(progress)
            self._changed.notify_all()

    async def progress_after(self, seen: int) -> list[TrainingProgress]:
        """TrainingProgress told after the first `seen` reports; waits for some. Empty when all has been told."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._progress) > seen or self._all_told)
            return self._progress[seen:]

    async def told(self) -> None:
        """The stage is over: no more progress."""
        async with self._changed:
            self._all_told = True
            self._changed.notify_all()

    async def interrupt(self) -> None:
        """Remember that a long verb is to end early."""
        self._interrupted = True

    async def interrupted(self) -> bool:
        """For rank 0: whether to end early."""
        self._hear()
        return self._interrupted

    async def close(self, cause: str) -> None:
        """This life is over; an open verb will not be answered."""
        async with self._changed:
            self._end = self._end or LearnerLost(f"{cause}{self._cause}")
            if self._open:
                self._settle(self._end)
            self._changed.notify_all()

    async def _changed_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._changed.wait()
        except TimeoutError:
            return

    def _hear(self) -> None:
        self._heard_at = time.monotonic()

    def _give(self, verb: Verb) -> None:
        self._serial += 1
        self._verb, self._answers, self._open = verb, {}, True
        self._changed.notify_all()

    def _settle(self, error: LearnerLost) -> None:
        self._answers = {0: error}
        self._open = False
        self._changed.notify_all()


def _name(verb: Verb) -> str:
    return type(verb).__name__.lower()
