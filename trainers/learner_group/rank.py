"""A worker of the learner's group: one rank, in a process of Ray Train, which runs the commands of the queue.

The process group exists when `work` is called. No arithmetic here; that is `trainers.learner.learner`. Who asks, and
what happens when a worker dies, is `trainers.learner_group.handle`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray
from ray.exceptions import RayActorError

from actors.config import PolicyConfig
from actors.policy.checkpoint import CheckpointError, CheckpointStore, CheckpointWriteError
from trainers.budget import Spent
from trainers.config import LearnerConfig
from trainers.learner_group.commands import Load, PretrainJob, Publish, Save, Step, Stop, Verb

if TYPE_CHECKING:
    from trainers.learner.learner import Learner
    from trainers.pretrain.pretrain import Batches, TrainingProgress
    from trainers.records import Batch

MAX_FAILED_SAVES: Final = 3  # in a row; then the stage stops, with its last good checkpoint


@dataclass(frozen=True, slots=True)
class LearnerPlan:
    """What the workers build: weights from a transformers directory, or fresh ones of `policy` from `seed`.

    `tokenizer` is a directory with the tokenizer that checkpoints are to carry. `reference` is the directory of the
    policy that a KL penalty refers to.
    """

    config: LearnerConfig
    tokenizer: Path
    weights: Path | None = None
    policy: PolicyConfig | None = None
    seed: int = 0
    reference: Path | None = None


def work(given: dict[str, Any]) -> None:
    """A rank: build the learner, then run verbs until told to stop, or until nobody is left who could ask."""
    learner = build_learner(given["plan"])
    with suppress(RayActorError):
        _obey_all(learner, given["queue"])


def _obey_all(learner: Learner, queue: Any) -> None:
    from trainers.learner.optimizer_state import ResumeError
    from trainers.learner.skipped import NotFinite

    serial = ray.get(queue.join.remote(learner.rank, os.getpid()))
    while True:
        serial, verb = ray.get(queue.verb_after.remote(serial))
        if isinstance(verb, Stop):
            return
        try:
            answer = _obey(verb, learner, queue)
        except (ResumeError, NotFinite, CheckpointError, OSError) as error:  # a restart would raise them again
            answer = error
        except Exception as error:
            ray.get(queue.failed.remote(learner.rank, f"{type(error).__name__}: {error}"))
            raise
        ray.get(queue.answer.remote(learner.rank, serial, answer))


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


def _obey(verb: Verb, learner: Learner, queue: Any) -> Any:
    match verb:
        case Step(batch):
            return learner.step(ray.get(batch))
        case Publish(version):
            return learner.publish(version)
        case Save(directory):
            return learner.save(directory)
        case Load(directory):
            return learner.load(directory)
        case PretrainJob():
            return run_pretrain(
                verb,
                learner,
                report=lambda progress: ray.get(queue.tell.remote(progress)),
                stop=lambda: ray.get(queue.interrupted.remote()),
                data=_FromMakers(queue),
            )
    raise AssertionError(f"no such verb: {verb}")


class _FromMakers:
    """The batches of a stage as its makers have laid them into the object store."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def batch(self, step: int) -> Batch:
        (reference,) = ray.get(self._queue.batch.remote(step))
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
            self._failed = 0
        except (CheckpointWriteError, OSError) as error:
            self._failed += 1
            if self._failed >= MAX_FAILED_SAVES or self._job.config.budget.reached(progress.spent):
                raise
            logging.getLogger(__name__).warning("step %d was not saved: %s", progress.step, error)

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
        on_first(lambda: self._store.retain(self._job.lineage.stage, self._job.config.keep_last))
