"""Runs the stages of a recipe, in order, once each: the top of the system, where every part meets.

A stage that is done is written down in the run folder and never repeated; a resumed run starts at the first other.
Pre-training happens in a learner group of its own; evaluation and RL in the run's controller actor, which is started at
the first of them and serves until the last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from actors.policy.checkpoint import CheckpointError, Lineage, Manifest
from actors.telemetry import EventLog
from cluster.errors import StageFailed
from cluster.ray.environment import actor_env, cache_folder
from cluster.ray.packaging import own_folder
from cluster.ray.resources import Resources
from cluster.ray.runtime import running
from cluster.recipe.base import adopt
from cluster.recipe.config import BaseStage, EvalStage, PretrainStage, Recipe, RlStage, Stage, TokenizerStage
from cluster.run.folder import RunFolder
from cluster.run.progress import Reporter
from cluster.run.report import write_report
from cluster.run.room import check_prompts
from cluster.run.trackers import Dashboards
from trainers.controller import Controller, ControllerPlan
from trainers.evaluation.evaluate import Evaluation
from trainers.evaluation.ledger import StageRecord
from trainers.learner_group.handle import Placement
from trainers.pretrain.pretrain import TrainingProgress
from trainers.rl.loop import LoopState
from trainers.status import RunStatus, controller_name
from verifier.errors import Failure, UserError
from verifier.seeds import derive

POLL_S = 0.5
MAX_CONTROLLER_LOSSES = 3  # of a stage, without getting further between them
# Host memory of one process (proportional set size, tiny policy), and of the controller, Ray and Ray Train together.
ENGINE_GIB, REWARD_GIB, LEARNER_GIB, RUN_GIB = 1.1, 0.1, 1.4, 2.3
NEEDS_RAY = ("pretrain", "midtrain", "rl", "eval")


def run_stages(recipe: Recipe, folder: RunFolder, address: str | None, insecure: bool, wait_s: float) -> None:
    """Run every stage that is not done. Returns only if all are done; raises what stopped the run otherwise.

    `address`, `insecure` and `wait_s` are those of `cluster.ray.runtime.running`.
    """
    done = {record.name for record in folder.stages()}
    left = [stage for stage in recipe.stages if stage.name not in done]
    dashboards = Dashboards(folder.name, folder.path, recipe.trackers)
    report = Reporter(folder.name, dashboards.catch_up)
    report.skipped(done)
    with closing(dashboards), _cluster(recipe, folder, address, insecure, wait_s, left) as workplace:
        checked = False
        for place, stage in enumerate(left):
            began = time.monotonic()
            report.begin(stage.name)
            try:
                with _naming_failures():
                    if stage.kind in NEEDS_RAY and not checked:
                        check_prompts(recipe, folder, left[place:])
                        checked = True
                    spent = _run_stage(stage, recipe, folder, workplace, report)
            except BaseException:
                report.stopped("stopped; the same command with --resume goes on")
                raise
            record = StageRecord(stage.name, stage.kind, time.monotonic() - began, *spent)
            folder.finish(record)
            report.end(record)
    report.finished(folder.path)


@contextmanager
def _naming_failures() -> Iterator[None]:
    """Raise the error behind Ray's, where it has a root of ours; what nobody foresaw keeps its traceback.

    Raises StageFailed where the disk or the network refused.
    """
    try:
        yield
    except Exception as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if isinstance(cause, UserError | Failure):
            raise cause from error
        if isinstance(cause, OSError):
            raise StageFailed(str(cause)) from error
        raise


class Workplace:
    """The run's actors; the controller is made at its first use."""

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
        return Placement(learner.workers, learner.cpus, learner.gpus, env, self.folder.path / "ray-train")

    def forget_controller(self) -> None:
        """It died, and Ray ends the workers that it owned; the next use makes another."""
        ray.kill(self._controller)
        self._controller = None

    def close(self) -> None:
        """End the workers."""
        if self._controller is not None:
            with suppress(ray.exceptions.RayActorError):
                ray.get(self._controller.close.remote(), timeout=30)
            ray.kill(self._controller)


Spent = tuple[int, float]
"""Tokens that the learner computed (for evaluation: that were drawn) and the FLOPs of learning and drawing."""


@contextmanager
def _cluster(
    recipe: Recipe, folder: RunFolder, address: str | None, insecure: bool, wait_s: float, left: list[Stage]
) -> Iterator[Workplace]:
    """A workplace, with a Ray under it if any stage that is left needs one."""
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
    """What the recipe's fleet needs at its largest, all kinds of workers together."""
    fleet, learner = recipe.fleet, recipe.learner
    on_host = recipe.engine.kv_cache_mib / 1024 if recipe.engine.device == "cpu" else 0.0
    return Resources(
        cpus=fleet.rollout_workers * fleet.rollout_cpus
        + fleet.reward_workers * fleet.reward_cpus
        + learner.workers * learner.cpus,
        gpus=fleet.rollout_workers * fleet.rollout_gpus + learner.workers * learner.gpus,
        memory_gib=fleet.rollout_workers * (ENGINE_GIB + on_host)
        + fleet.reward_workers * REWARD_GIB
        + learner.workers * LEARNER_GIB
        + RUN_GIB,
    )


def _run_stage(stage: Stage, recipe: Recipe, folder: RunFolder, workplace: Workplace, report: Reporter) -> Spent:
    match stage:
        case TokenizerStage():
            return _make_tokenizer(stage, recipe, folder)
        case BaseStage():
            origin = Lineage(run=folder.name, stage=stage.name, step=0, parent=None, seed=recipe.seed)
            adopt(stage.base, folder.store, origin)
            return 0, 0.0
        case PretrainStage():
            return _pretrain(stage, recipe, folder, workplace, report)
        case RlStage():
            return _reinforce(stage, folder, workplace, report)
        case EvalStage():
            return _evaluate(stage, folder, workplace, report)
        case _:
            write_report(folder, recipe)
            return 0, 0.0


def _make_tokenizer(stage: TokenizerStage, recipe: Recipe, folder: RunFolder) -> Spent:
    from actors.policy.tokenizer import build_tokenizer
    from trainers.pretrain.pretrain import corpus

    first = next(s for s in recipe.stages if s.kind == "pretrain")
    assert isinstance(first, PretrainStage)
    build_tokenizer(stage.tokenizer, corpus(first.train.task, recipe.seed)).save_pretrained(folder.path / "tokenizer")
    return 0, 0.0


def _pretrain(stage: PretrainStage, recipe: Recipe, folder: RunFolder, workplace: Workplace, report: Reporter) -> Spent:
    from trainers.learner_group.commands import PretrainJob
    from trainers.learner_group.handle import LearnerGroup
    from trainers.learner_group.rank import LearnerPlan

    parent = _newest(folder, before=stage.name)
    weights = folder.store.path(parent.id) if parent else None
    plan = LearnerPlan(
        config=stage.train.learner_config(),
        tokenizer=weights or folder.path / "tokenizer",
        weights=weights,
        policy=recipe.policy,
        seed=recipe.seed,
    )
    lineage = Lineage(run=folder.name, stage=stage.name, step=0, parent=parent.id if parent else None, seed=recipe.seed)
    data_seed = derive(recipe.seed, "documents", stage.name)  # no stage sees the problems of another
    job = PretrainJob(stage.train, lineage, folder.store.root, data_seed)

    async def work() -> Spent:
        group = LearnerGroup(plan, workplace.placement())
        await group.start()
        try:
            with EventLog(folder.metrics) as log, _on_interrupt(group.interrupt):

                def tell(progress: TrainingProgress) -> None:
                    log.write("pretrain_step", stage=stage.name, **asdict(progress))
                    report.pretraining(progress)

                end = await group.pretrain(job, tell)
        finally:
            await group.stop()
        if end.step < stage.train.steps:
            raise KeyboardInterrupt
        return end.tokens, end.flops

    return asyncio.run(work())


def _reinforce(stage: RlStage, folder: RunFolder, workplace: Workplace, report: Reporter) -> Spent:
    parent = _newest(folder, before=stage.name)
    assert parent is not None, "the recipe was checked to have a base before RL"
    state: LoopState = _drive(workplace, report, lambda c: c.train.remote(stage.name, stage.rl, parent.id))
    if state.step < stage.rl.steps:
        raise KeyboardInterrupt
    return state.tokens, state.flops


def _evaluate(stage: EvalStage, folder: RunFolder, workplace: Workplace, report: Reporter) -> Spent:
    newest = _newest(folder, before=stage.name)
    assert newest is not None, "the recipe was checked to have weights before an evaluation"
    model = folder.store.path(newest.id)
    evaluation: Evaluation = _drive(
        workplace, report, lambda c: c.evaluate.remote(stage.name, model, newest.step, stage.eval)
    )
    folder.save_evaluation(stage.name, evaluation)
    return evaluation.tokens, evaluation.flops


def _newest(folder: RunFolder, before: str) -> Manifest | None:
    """The checkpoint that a stage starts from: the newest good one that is not the stage's own."""
    for manifest in reversed(folder.store.list()):
        if manifest.stage != before:
            try:
                return folder.store.get(manifest.id)
            except CheckpointError:
                continue
    return None


def _drive(workplace: Workplace, report: Reporter, ask: Callable[[Any], Any]) -> Any:
    """The result of a call on the controller; if its process dies, of the same call on the next one.

    RL goes on from its last checkpoint then, an evaluation begins again. Raises StageFailed when it keeps dying and no
    controller gets further than one before it.
    """
    furthest = losses = 0

    def tell(at: RunStatus) -> None:
        nonlocal furthest, losses
        if at.done > furthest:
            furthest, losses = at.done, 0
        report.running(at)

    while True:
        controller = workplace.controller
        try:
            return asyncio.run(follow(controller, ask(controller), tell))
        except ray.exceptions.RayActorError as error:
            if isinstance(error, ray.exceptions.RayTaskError):  # the controller told of somebody else's death
                raise
            losses += 1
            if losses > MAX_CONTROLLER_LOSSES:
                raise StageFailed(
                    f"the run's controller died {losses} times and got no further than {furthest}: {error}"
                ) from error
            report.warn("the run's controller died and is started again; what it had saved is where it goes on")
            workplace.forget_controller()


async def follow(controller: Any, result: Any, tell: Callable[[RunStatus], None]) -> Any:
    """Wait for a call on the controller, telling its progress; on Ctrl-C let it save and come back.

    Raises StageFailed for what has a name.
    """
    waiting = asyncio.wrap_future(result.future())
    with _on_interrupt(controller.stop.remote):
        while not waiting.done():
            await asyncio.wait([waiting], timeout=POLL_S)
            if not waiting.done():
                tell(await controller.status.remote())
    with _naming_failures():
        return waiting.result()


@contextmanager
def _on_interrupt(ask: Callable[[], Awaitable[Any]]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks for an orderly end; the second is as sudden as ever."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    asked: set[asyncio.Future[Any]] = set()

    def restore() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])

    def interrupted() -> None:
        restore()
        asked.add(asyncio.ensure_future(ask()))

    for number in numbers:
        loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        restore()
