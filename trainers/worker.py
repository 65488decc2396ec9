"""The learner's processes: N Ray Train workers, each with one rank of the learner, and the handle that drives them.

Ray Train places the workers, forms their process group and restarts them all when one dies. They take verbs from a
mailbox actor, so the handle (`LearnerGroup`, used by a run's controller) needs no thread of its own and survives them.
No arithmetic here; that is `trainers.learner`. A restarted group holds the weights it was planned with, so after a
restart every verb raises `LearnerLost` until `revive`; whoever hears it loads the checkpoint to continue from.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import ray
from ray.exceptions import RayActorError

from actors.checkpoint import CheckpointError, CheckpointStore, CheckpointWriteError
from actors.config import PolicyConfig
from actors.weights import WeightVersion
from trainers.config import LearnerConfig
from trainers.mailbox import LearnerLost, Load, Mailbox, PretrainJob, Publish, Save, Step, Stop, Verb
from trainers.records import Batch, StepReport

if TYPE_CHECKING:
    from trainers.learner import Learner
    from trainers.pretrain import Progress

MAX_LEARNER_LOSSES: Final = 3
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
        self._mailbox: Any = None
        self._fit: asyncio.Task[None] | None = None
        self._life = 0  # the one that the caller knows of

    async def start(self) -> None:
        """Start the workers and wait until every rank has built its engine. Raises LearnerLost."""
        self._mailbox = (
            cast("Any", ray.remote(Mailbox)).options(num_cpus=0, max_concurrency=1000).remote(self.placement.workers)
        )
        self._fit = asyncio.create_task(self._run())
        self._life = await self._joined()

    async def revive(self) -> None:
        """After LearnerLost: wait until the workers are up again, started anew where Ray Train has given up.

        They hold the weights that they were planned with. Raises LearnerLost if they do not come up.
        """
        try:
            self._life = await self._joined()
        except LearnerLost:
            await self.stop()
            await self.start()

    async def pids(self) -> tuple[int, ...]:
        """The processes of the ranks, in rank order; waits for a restart that is under way. Raises LearnerLost."""
        await self._joined()
        return await self._mailbox.pids.remote()

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

    async def pretrain(self, job: PretrainJob, report: Callable[[Progress], None]) -> Progress:
        """Run a pre-training stage to its end (or until `interrupt`), over deaths of workers. Raises LearnerLost."""
        for losses in range(MAX_LEARNER_LOSSES + 1):
            try:
                return await self._pretrain(job, report)
            except LearnerLost:
                if losses == MAX_LEARNER_LOSSES:
                    raise
                await self.revive()
        raise AssertionError("the last loss is raised")

    async def interrupt(self) -> None:
        """Ask a pre-training stage to save and end after the step it is in."""
        await self._mailbox.interrupt.remote()

    async def stop(self) -> None:
        """End the workers. Harmless when they are already gone."""
        if self._fit is None:
            return
        if not self._fit.done():
            with suppress(RayActorError):  # without a mailbox they end by themselves
                await self._mailbox.post.remote(Stop())
        await asyncio.gather(self._fit, return_exceptions=True)
        ray.kill(self._mailbox)
        self._fit = None

    async def _ask(self, verb: Verb) -> Any:
        return await self._answer(self._mailbox.ask.remote(verb, self._life))

    async def _joined(self) -> int:
        return await self._answer(self._mailbox.joined.remote())

    async def _answer(self, reply: Any) -> Any:
        try:
            answer = await reply
        except RayActorError as error:
            raise LearnerLost(f"the learner's mailbox died: {error}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _pretrain(self, job: PretrainJob, report: Callable[[Progress], None]) -> Progress:
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
                await self._mailbox.told.remote()
            await telling

    async def _tell(self, report: Callable[[Progress], None]) -> None:
        """Pass progress on as it is told, until the last of it."""
        seen = 0
        with suppress(RayActorError):
            while told := await self._mailbox.progress_after.remote(seen):
                for progress in told:
                    report(progress)
                seen += len(told)

    async def _run(self) -> None:
        """Keep the Ray Train run; its end is told to whoever waits at the mailbox."""
        end = await asyncio.to_thread(_fit, self.plan, self.placement, self._mailbox)
        with suppress(RayActorError):
            await self._mailbox.close.remote(end)


def _fit(plan: LearnerPlan, placement: Placement, mailbox: Any) -> str | None:
    """Run Ray Train until the workers are told to stop; the cause if it ended otherwise."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": placement.cpus} | ({"GPU": placement.gpus} if placement.gpus else {})
    trainer = TorchTrainer(
        _work,
        train_loop_config={"plan": plan, "mailbox": mailbox},
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


def _work(given: dict[str, Any]) -> None:
    """A rank: build the learner, then run verbs until told to stop, or until nobody is left who could ask."""
    learner = build_learner(given["plan"])
    with suppress(RayActorError):
        _obey_all(learner, given["mailbox"])


def _obey_all(learner: Learner, mailbox: Any) -> None:
    from trainers.finite import NotFinite
    from trainers.resume import ResumeError

    serial = ray.get(mailbox.join.remote(learner.rank, os.getpid()))
    while True:
        serial, verb = ray.get(mailbox.verb_after.remote(serial))
        if isinstance(verb, Stop):
            return
        try:
            answer = _obey(verb, learner, mailbox)
        except (ResumeError, NotFinite, CheckpointError, OSError) as error:  # a restart would meet them again: told
            answer = error
        ray.get(mailbox.answer.remote(learner.rank, serial, answer))


def build_learner(plan: LearnerPlan) -> Learner:
    """The learner of this rank; the process group must exist."""
    from actors.policy import build, load
    from actors.tokenizer import load_tokenizer
    from trainers.learner import Learner

    tokenizer = load_tokenizer(plan.tokenizer)
    if plan.weights is not None:
        policy = load(plan.weights)
    elif plan.policy is not None:
        policy = build(plan.policy, len(tokenizer), plan.seed)
    else:
        raise ValueError("a learner needs weights or a policy to build")
    return Learner(policy, tokenizer, plan.config, load(plan.reference) if plan.reference else None)


def _obey(verb: Verb, learner: Learner, mailbox: Any) -> Any:
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
                report=lambda progress: ray.get(mailbox.tell.remote(progress)),
                stop=lambda: ray.get(mailbox.interrupted.remote()),
            )
    raise AssertionError(f"no such verb: {verb}")


def run_pretrain(
    job: PretrainJob, learner: Learner, report: Callable[[Progress], None], stop: Callable[[], bool]
) -> Progress:
    """A pre-training stage on this rank, from the stage's last checkpoint if there is one. All ranks call it."""
    from trainers.pretrain import DocumentStream, pretrain

    store = CheckpointStore(job.checkpoints)
    last = store.latest(job.lineage.stage)
    spent = (0, 0.0)
    if last is not None:
        learner.load(store.path(last.id))
        spent = (last.tokens, last.flops)

    saving = _Saving(store, job, learner)
    return pretrain(
        learner,
        DocumentStream(job.config, learner.tokenizer, job.data_seed),
        job.config,
        report=report if learner.rank == 0 else lambda progress: None,
        checkpoint=saving.save,
        stop=lambda: learner.agree(stop() if learner.rank == 0 else False),
        spent=spent,
    )


class _Saving:
    """Checkpoints of a pre-training stage. A disk that refuses costs checkpoints, not the stage, unless it goes on."""

    def __init__(self, store: CheckpointStore, job: PretrainJob, learner: Learner) -> None:
        self._store = store
        self._job = job
        self._learner = learner
        self._failed = 0

    def save(self, progress: Progress) -> None:
        """Publish a checkpoint; all ranks call it. Raises the disk's error for the last one and the third in a row."""
        try:
            self._publish(progress)
            self._failed = 0
        except (CheckpointWriteError, OSError) as error:
            self._failed += 1
            if self._failed >= MAX_FAILED_SAVES or progress.step == progress.steps:
                raise
            logging.getLogger(__name__).warning("step %d was not saved: %s", progress.step, error)

    def _publish(self, progress: Progress) -> None:
        spent = {"step": progress.step, "tokens": progress.tokens, "flops": progress.flops}
        if self._learner.rank == 0:
            self._store.publish(self._job.lineage.model_copy(update=spent), self._learner.save)
        else:
            self._learner.save(None)
