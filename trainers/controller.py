"""The controller of a run: one Ray actor that owns the worker pool and drives evaluation and RL.

It is where a live run is reached: `status` and `scale` are calls on it. Control plane only; the arithmetic is in
`trainers.rl.loop` and `trainers.evaluation.evaluate`, the fleet in `actors.workers.pool`, and the weights go from the
learner to the engines without passing here.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from actors.config import EngineConfig, FleetConfig
from actors.policy.checkpoint import CheckpointStore, Lineage
from actors.policy.tokenizer import end_of_text, load_tokenizer
from actors.records import GroupRequest, RolloutGroup
from actors.telemetry import EventLog
from actors.weights.version import WeightVersion
from actors.workers.pool import PoolStatus, WorkerPool
from actors.workers.rollout import SyncReport
from trainers.config import RlConfig
from trainers.evaluation.evaluate import EvalConfig, Evaluation, evaluate, held_out
from trainers.evaluation.ledger import sampling_flops
from trainers.learner_group.handle import Placement
from trainers.pretrain.pretrain import encode_prompt
from trainers.rl.loop import LoopState
from trainers.rl.stage import RlRunner
from verifier.graphs.problem import Problem
from verifier.rewards.registry import Reward, Rewards

WARNINGS: Final = {
    "save_failed": "step {step} was not saved ({in_a_row} in a row): {cause}",
    "learner_lost": "the learner was lost and starts again from the last checkpoint: {cause}",
}
EVAL_SEED: Final = 1  # the held-out problems are the same for every seed of a run, so that runs can be compared


@dataclass(frozen=True, slots=True)
class ControllerPlan:
    """What a controller is started with; `env` is what the cluster wants in every actor's environment."""

    run: str
    run_dir: Path
    seed: int
    target_ops: tuple[int, ...]
    engine: EngineConfig
    pool: FleetConfig
    learner: Placement
    env: dict[str, str]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Where a live run stands: its stage, how far it is, the last numbers it told, and its workers if it has any.

    `warnings` is what went wrong in the stage so far and did not stop it.
    """

    stage: str
    done: int
    total: int
    numbers: dict[str, float]
    warnings: tuple[str, ...]
    pool: PoolStatus | None


class NothingToScale(ValueError):
    """The run has no workers at the moment; the message says when it will."""


def controller_name(run: str) -> str:
    """The name of a run's controller among Ray's named actors."""
    return f"controller:{run}"


class Controller:
    """A Ray actor (asyncio), started by `cluster.run.stages`. One stage at a time; `status` and `scale` at any time."""

    def __init__(self, plan: ControllerPlan) -> None:
        self.plan = plan
        self.store = CheckpointStore(plan.run_dir / "checkpoints")
        self.events = EventLog(plan.run_dir / "metrics.jsonl")
        self._pool: WorkerPool | None = None
        self._up: asyncio.Task[None] | None = None  # the pool's first workers
        self._rl: RlRunner | None = None
        self._at = ("idle", 0, 0)
        self._numbers: dict[str, float] = {}
        self._warnings: list[str] = []

    async def evaluate(self, stage: str, directory: Path, version: int, config: EvalConfig) -> Evaluation:
        """Sample the model of a transformers directory, as policy `version`, on held-out problems.

        The same problems and draws whatever the run's seed. The directory may be anyone's: its own tokenizer is used.
        """
        from actors.policy.architecture import config_of
        from actors.policy.model import forward_flops

        self._begin(stage, 0)
        self._open_pool(directory)
        tokenizer = load_tokenizer(directory)
        await self.sync(await asyncio.to_thread(_publish_directory, directory, version))
        evaluation = await evaluate(
            self._sample,
            directory.name,
            held_out(config, self.plan.target_ops, EVAL_SEED),
            lambda problem: encode_prompt(problem, tokenizer),
            config,
            (end_of_text(tokenizer),),
            partial(sampling_flops, forward=forward_flops(config_of(directory))),
            EVAL_SEED,
            lambda done, total: self._advance(stage, done, total),
        )
        self._tell_pool(stage)
        return evaluation

    async def train(self, stage: str, config: RlConfig, parent_id: str) -> LoopState:
        """Run an RL stage from its own last good checkpoint, or from `parent_id`. Raises LearnerLost."""
        self._begin(stage, config.steps)
        self._open_pool(self.store.path(parent_id))
        origin = Lineage(run=self.plan.run, stage=stage, step=0, parent=parent_id, seed=self.plan.seed)
        self._rl = RlRunner(origin, config, self.store, self.plan.learner, self, self._emit)
        try:
            return await self._rl.train()
        finally:
            await self._rl.close()
            self._rl = None
            self._tell_pool(stage)

    async def rollout(self, request: GroupRequest, problem: Problem, rewards: Rewards) -> RolloutGroup:
        """Sample one prompt and judge every completion."""
        assert self._pool is not None, "sync() comes first"
        return await self._pool.rollout(request, problem, rewards)

    async def sync(self, weights: WeightVersion) -> list[SyncReport]:
        """Bring every worker to a version and prove it; waits for the pool to be up."""
        assert self._pool is not None, "a stage opens the pool first"
        assert self._up is not None
        await self._up
        return await self._pool.sync(weights)

    async def scale(self, rollout_workers: int | None, reward_workers: int | None) -> RunStatus:
        """Ask for other numbers of workers; returns at once with where the run stands."""
        if self._pool is None:
            raise NothingToScale("the run has no workers yet: they come with its first evaluation or RL stage")
        await self._pool.scale(rollout_workers, reward_workers)
        self._emit("scale", rollout_workers=rollout_workers, reward_workers=reward_workers)
        return await self.status()

    async def status(self) -> RunStatus:
        """Where the run stands now."""
        pool = self._pool.status() if self._pool is not None else None
        return RunStatus(*self._at, dict(self._numbers), tuple(self._warnings), pool)

    async def stop(self) -> None:
        """Ask the RL loop to save after the step it is in and return."""
        if self._rl is not None:
            self._rl.loop.stopping = True

    async def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            await self._pool.close()
        self.events.close()

    async def _sample(self, request: GroupRequest, problem: Problem) -> RolloutGroup:
        return await self.rollout(request, problem, (Reward("strict"),))

    def _open_pool(self, model: Path) -> None:
        """Start the workers, once, with a model's architecture and tokenizer; the learner comes up meanwhile."""
        if self._pool is None:
            self._pool = WorkerPool(model, self.plan.engine, self.plan.pool, self.plan.env)
            self._up = asyncio.create_task(self._pool.start())

    def _begin(self, stage: str, total: int) -> None:
        self._at, self._numbers, self._warnings = (stage, 0, total), {}, []

    def _advance(self, stage: str, done: int, total: int) -> None:
        self._at = (stage, done, total)

    def _emit(self, event: str, **fields: Any) -> None:
        self.events.write(event, **fields)
        if event == "rl_step":
            self._at = (fields["stage"], fields["step"], self._at[2])
            self._numbers = {k: fields[k] for k in ("reward", "strict", "outcome", "completion_tokens", "step_s")}
        elif event in WARNINGS:
            self._warnings.append(WARNINGS[event].format_map(fields))

    def _tell_pool(self, stage: str) -> None:
        """Write the pool's counters down at the end of a stage, and the workers that were given up."""
        if self._pool is not None:
            status = self._pool.status()
            counters = {k: v for k, v in asdict(status).items() if k != "workers"}
            self._emit("pool", stage=stage, **counters)


def _publish_directory(directory: Path, version: int) -> WeightVersion:
    """A directory's weights in the object store. The controller owns the object, so it must outlive its readers."""
    from actors.policy.model import load
    from actors.weights.version import publish_model

    return publish_model(version, load(directory))
