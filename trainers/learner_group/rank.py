"""One rank of the learner: an actor that meets the others, builds its part of the learner, and does what it is told.

No arithmetic here; that is `trainers.learner.learner`. Who asks is `trainers.learner_group.handle`, and what happens
when a rank dies `trainers.learner_group.life`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray

from actors.config import PolicyConfig
from actors.policy.checkpoint import CheckpointStore, CheckpointWriteError
from trainers.budget import Spent
from trainers.config import LearnerConfig
from trainers.learner_group.commands import Load, Pretrain, PretrainJob, Publish, Save, Step, Verb
from trainers.pretrain.ahead import Ahead
from verifier.errors import Failure, UserError

if TYPE_CHECKING:
    from trainers.learner.learner import Learner
    from trainers.pretrain.pretrain import Batches, TrainingProgress
    from trainers.records import Batch

Address = tuple[str, int]
MAX_FAILED_SAVES: Final = 3  # in a row; then the stage stops, with its last good checkpoint


@dataclass(frozen=True, slots=True)
class LearnerPlan:
    """What the ranks build: weights from a transformers directory, or fresh ones of `policy` from `seed`.

    `tokenizer` is a directory with the tokenizer that checkpoints are to carry. `reference` is the directory of the
    policy that a KL penalty refers to.
    """

    config: LearnerConfig
    tokenizer: Path
    weights: Path | None = None
    policy: PolicyConfig | None = None
    seed: int = 0
    reference: Path | None = None


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a rank's process runs: its node and GPUs, and its process id there."""

    place: tuple[str, tuple[str, ...]]
    pid: int


@dataclass(frozen=True, slots=True)
class Broken:
    """What a rank answers that cannot go on: the learner's life ends with it."""

    cause: str


class LearnerRank:
    """A Ray actor; see the module."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="learner")
        self._store: Any = None
        self._learner: Any = None
        self._steps_begun = 0
        self._interrupted = False
        self._progress: list[TrainingProgress] = []
        self._all_told = False
        self._news = asyncio.Event()

    async def seat(self) -> Seat:
        """Where this process runs."""
        context = ray.get_runtime_context()
        return Seat((context.get_node_id(), tuple(context.get_accelerator_ids().get("GPU", ()))), os.getpid())

    async def open_meeting(self, ranks: int) -> Address | Broken:
        """For rank 0: the address where the ranks are to meet."""

        def opened() -> Address:
            from trainers.learner.process_group import open_meeting

            self._store, address = open_meeting(ray.util.get_node_ip_address(), ranks)
            return address

        return await self._do(opened)

    async def join(self, rank: int, ranks: int, meeting: Address, plan: LearnerPlan) -> Any:
        """Meet the other ranks and build the learner; an error that a new life would meet again, or Broken."""

        def joined() -> None:
            from trainers.learner.process_group import form_group, join_meeting

            form_group(self._store or join_meeting(meeting, ranks), rank, ranks)
            self._learner = build_learner(plan)

        return await self._do(joined)

    async def obey(self, verb: Verb) -> Any:
        """Do what all ranks are told at once; the result, an error that a new life would meet again, or Broken."""
        self._steps_begun = 0
        try:
            return await self._do(partial(self._obey, verb, asyncio.get_running_loop()))
        finally:
            self._all_told = True
            self._news.set()

    async def steps_begun(self) -> int:
        """How many steps of a stage on texts have begun."""
        return self._steps_begun

    async def progress_after(self, seen: int) -> list[TrainingProgress]:
        """Progress told after the first `seen` reports; waits for some. Empty when all has been told."""
        while len(self._progress) <= seen and not self._all_told:
            self._news.clear()
            await self._news.wait()
        return self._progress[seen:]

    async def interrupt(self) -> None:
        """Remember that a stage on texts is to end early."""
        self._interrupted = True

    async def ended(self) -> None:
        """Never answers; who waits hears of the end of this process."""
        await asyncio.Event().wait()

    async def _do(self, work: Callable[[], Any]) -> Any:
        """Work in the one thread that computes, so that this actor can be asked meanwhile."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (UserError, Failure) as error:  # a new life would meet it again
            return error
        except Exception as error:
            traceback.print_exc()
            return Broken(f"{type(error).__name__}: {error}")

    def _obey(self, verb: Verb, loop: asyncio.AbstractEventLoop) -> Any:
        try:
            match verb:
                case Step(batch):
                    return self._learner.step(ray.get(batch))
                case Publish(version):
                    return self._learner.publish(version)
                case Save(directory):
                    return self._learner.save(directory)
                case Load(directory):
                    return self._learner.load(directory)
                case Pretrain(job, makers):
                    tell: Any = partial(loop.call_soon_threadsafe, self._tell)
                    return run_pretrain(job, self._learner, tell, self._stop, _FromMakers(makers))
        except OSError as error:  # a new life would meet the full disk again
            return error

    def _tell(self, progress: TrainingProgress) -> None:
        self._progress.append(progress)
        self._news.set()

    def _stop(self) -> bool:
        self._steps_begun += 1
        return self._interrupted


def build_learner(plan: LearnerPlan) -> Learner:
    """The learner of this rank; the process group must exist."""
    from actors.policy.model import build, load
    from actors.policy.tokenizer import load_tokenizer
    from trainers.learner.learner import Learner

    tokenizer = load_tokenizer(plan.tokenizer)
    if plan.weights is not None:
        policy = load(plan.weights)
    elif plan.policy is not None:
        policy = build(plan.policy, len(tokenizer), plan.seed)
    else:
        raise ValueError("a learner needs weights or a policy to build")
    return Learner(policy, tokenizer, plan.config, load(plan.reference) if plan.reference else None)


class _FromMakers:
    """The batches of a stage as its makers have laid them into the object store."""

    def __init__(self, makers: Sequence[Any]) -> None:
        self._ahead = Ahead(makers)

    def batch(self, step: int) -> Batch:
        (reference,) = ray.get(self._ahead.batch(step))
        return ray.get(reference)


def run_pretrain(
    job: PretrainJob,
    learner: Learner,
    report: Callable[[TrainingProgress], None],
    stop: Callable[[], bool],
    data: Batches | None = None,
) -> TrainingProgress:
    """A stage on texts on this rank, from the stage's last checkpoint if there is one. All ranks call it.

    Without `data` this process makes the batches itself.
    """
    from actors.policy.text_format import text_format
    from trainers.learner.ranks import on_first
    from trainers.pretrain.documents import DocumentStream
    from trainers.pretrain.pretrain import pretrain

    store = CheckpointStore(job.checkpoints)
    last = on_first(lambda: store.latest(job.lineage.stage))
    spent = job.begun
    if last is not None:
        learner.load(store.path(last.id))
        spent = Spent(last.step, last.tokens, last.flops, job.begun.paper_tokens + last.tokens)

    return pretrain(
        learner,
        data or DocumentStream(job.config, text_format(learner.tokenizer), job.data_seed, job.drawn),
        job.config,
        report=report if learner.rank == 0 else lambda progress: None,
        checkpoint=_Saving(store, job, learner).save,
        stop=lambda: on_first(stop),
        spent=spent,
    )


class _Saving:
    """Checkpoints of a pre-training stage. A failed write is logged; the third in a row ends the stage."""

    def __init__(self, store: CheckpointStore, job: PretrainJob, learner: Learner) -> None:
        self._store = store
        self._job = job
        self._learner = learner
        self._failed = 0

    def save(self, progress: TrainingProgress) -> None:
        """Publish a checkpoint; all ranks call it. Raises the disk's error for the last one and the third in a row."""
        try:
            self._publish(progress)
        except (CheckpointWriteError, OSError) as error:
            self._failed += 1
            if self._failed >= MAX_FAILED_SAVES or self._job.config.budget.reached(progress.spent):
                raise
            logging.getLogger(__name__).warning("step %d was not saved: %s", progress.step, error)
        else:
            self._failed = 0
            self._retain()

    def _publish(self, progress: TrainingProgress) -> None:
        from trainers.learner.ranks import on_first

        spent = {"step": progress.step, "tokens": progress.tokens, "flops": progress.flops}
        draft = self._store.draft(self._job.lineage.model_copy(update=spent))
        try:
            self._learner.save(on_first(draft.open))
            on_first(draft.publish)
        finally:
            if self._learner.rank == 0:
                draft.discard()

    def _retain(self) -> None:
        """Delete older checkpoints; what cannot be deleted now is tried again after the next."""
        from trainers.learner.ranks import on_first

        try:
            on_first(lambda: self._store.retain(self._job.lineage.stage, self._job.config.keep_last))
        except OSError as error:
            logging.getLogger(__name__).warning("older checkpoints could not be deleted: %s", error)
