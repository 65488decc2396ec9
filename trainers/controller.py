"""The controller of a run: one Ray actor that owns the fleet and drives evaluation and RL.

Commands reach a live run through it: `status` and `scale` are calls on it. It gives each stage the fleet and a learner,
and receives their progress as events; no stage knows the controller. It is control plane only: the arithmetic is in
`trainers.rl.loop` and `trainers.evaluation.evaluate`, and the weights go from the learner to the engines directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from actors.config import EngineConfig, FleetConfig
from actors.policy.checkpoint import CheckpointStore, Lineage
from actors.rollouts.store import RolloutStore
from actors.rollouts.writer import RolloutWriter
from actors.telemetry import EventLog
from actors.weights.version import WeightVersion
from actors.workers.drivers import ray_fleet
from actors.workers.fleet import Fleet
from trainers.budget import NOTHING
from trainers.config import RejectionConfig, RlConfig
from trainers.evaluation.asking import AskedPolicy, asked_policy
from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import STAGE_SEED, EvalConfig, Evaluation, evaluate, held_out
from trainers.evaluation.recovery import planted_items, with_recovery
from trainers.evaluation.unfinished import Unfinished, unfinished_path
from trainers.interruption import Interruptible
from trainers.learner_group.handle import LearnerGroup
from trainers.learner_group.placement import Placement
from trainers.learner_group.rank import LearnerPlan
from trainers.pretrain.rejection import Drawn, draw
from trainers.rl.loop import LoopState
from trainers.rl.stage import RlRunner, StageLearner
from trainers.status import RunStatus
from verifier.errors import UserError

T = TypeVar("T")

WARNINGS: Final = {
    "save_failed": "step {step} was not saved ({in_a_row} in a row): {cause}",
    "deletion_failed": "older checkpoints could not be deleted: {cause}",
    "rollouts_lost": "the rollouts of step {step} are not kept ({in_a_row} in a row): {cause}",
    "learner_lost": "the learner was lost and starts again from the last checkpoint: {cause}",
    "finding": "{line}",
}


@dataclass(frozen=True, slots=True)
class ControllerPlan:
    """What a controller is started with; `env` holds the environment variables of every actor."""

    run: str
    run_dir: Path
    seed: int
    bands: Bands
    engine: EngineConfig
    fleet: FleetConfig
    learner: Placement
    env: dict[str, str]


class NothingToScale(UserError):
    """The run has no workers at the moment; the message says when it will have some."""

    fix = "Ask again when `interplay status` shows workers."


class Controller:
    """A Ray actor (asyncio) of `cluster.run.work.stages`. One stage at a time; `status` and `scale` at any time.

    `open_fleet` and `open_learner` make the fleet and the learner that a stage uses; tests pass their own.
    """

    def __init__(
        self,
        plan: ControllerPlan,
        open_fleet: Callable[[Path, EngineConfig, FleetConfig, Mapping[str, str]], Fleet] = ray_fleet,
        open_learner: Callable[[LearnerPlan, Placement], StageLearner] = LearnerGroup,
    ) -> None:
        self.plan = plan
        self._open_fleet = open_fleet
        self._open_learner = open_learner
        self.store = CheckpointStore(plan.run_dir / "checkpoints")
        self.events = EventLog(plan.run_dir / "metrics.jsonl")
        self._fleet: Fleet | None = None
        self._rl: RlRunner | None = None
        self._sampling: Interruptible | None = None
        self._at = ("idle", 0, 0)
        self._numbers: dict[str, float] = {}
        self._warnings: list[str] = []

    async def evaluate(self, stage: str, directory: Path, version: int, config: EvalConfig) -> Evaluation:
        """Sample the model of a transformers directory, as policy `version`, on held-out problems.

        The problems and draws are the same for every seed of the run. The directory need not be of this run: its own
        tokenizer is used. Raises Interrupted when asked to stop.
        """
        return await self._interruptible(self._evaluate(stage, directory, version, config))

    async def _interruptible(self, work: Coroutine[Any, Any, T]) -> T:
        self._sampling = Interruptible()
        try:
            return await self._sampling.run(work)
        finally:
            self._sampling = None

    async def _evaluate(self, stage: str, directory: Path, version: int, config: EvalConfig) -> Evaluation:
        self._begin(stage, 0)
        policy, weights = await self._asked(directory, version)
        items = held_out(config, self.plan.bands, STAGE_SEED)
        planted = planted_items(config, items, STAGE_SEED) if config.recovery else []
        memory = Unfinished(unfinished_path(self.plan.run_dir, stage), weights.weight_hash, config, items, STAGE_SEED)

        def advance(done: int, total: int) -> None:
            self._advance(stage, done, total)

        evaluation = await evaluate(policy, directory.name, items, config, STAGE_SEED, advance, memory)
        if planted:
            evaluation = await with_recovery(evaluation, planted, policy, config, STAGE_SEED)
        self._tell_fleet(stage)
        return evaluation

    async def _asked(self, directory: Path, version: int) -> tuple[AskedPolicy, WeightVersion]:
        """The model of a directory, in the engines as policy `version`."""
        fleet, policy = await self._fleet_and_policy(directory)
        weights = await asyncio.to_thread(_publish_directory, directory, version)
        await fleet.sync(weights)
        return policy, weights

    async def _fleet_and_policy(self, directory: Path) -> tuple[Fleet, AskedPolicy]:
        """The fleet for the model of a directory, and how that model is asked. Torch is loaded while workers start."""
        fleet = self._fleet_for(directory)
        return fleet, await asyncio.to_thread(asked_policy, fleet, directory)

    async def draw(self, stage: str, directory: Path, version: int, config: RejectionConfig, seed: int) -> Drawn:
        """Draw what a rejection stage trains on: verified completions of a directory's model, as policy `version`.

        Raises Interrupted when asked to stop.
        """
        return await self._interruptible(self._draw(stage, directory, version, config, seed))

    async def _draw(self, stage: str, directory: Path, version: int, config: RejectionConfig, seed: int) -> Drawn:
        self._begin(stage, 0)
        policy, _ = await self._asked(directory, version)
        drawn = await draw(policy, config, seed, lambda done, total: self._advance(stage, done, total))
        self._emit(
            "drawn",
            stage=stage,
            completions=drawn.completions,
            kept=len(drawn.documents),
            verifier_errors=drawn.failed,
            verifier_error=drawn.error,
        )
        self._tell_fleet(stage)
        return drawn

    async def train(self, stage: str, config: RlConfig, parent_id: str, seed: int) -> LoopState:
        """Run an RL stage from its own last good checkpoint, or from `parent_id`; `seed` is that of its draws.

        Raises LearnerLost, Interrupted.
        """
        self._begin(stage, config.budget.steps(NOTHING))
        parent = self.store.path(parent_id)
        fleet, policy = await self._interruptible(self._fleet_and_policy(parent))
        learner = self._open_learner(learner_plan(config, parent, self.plan.engine.dtype), self.plan.learner)
        origin = Lineage(run=self.plan.run, stage=stage, step=0, parent=parent_id, seed=self.plan.seed)
        kept = RolloutStore(self.plan.run_dir, stage, self.plan.seed, config.keep_rollouts)
        self._rl = RlRunner(
            origin, seed, config, self.store, learner, fleet, policy, self._emit, self.plan.bands, RolloutWriter(kept)
        )
        try:
            return await self._rl.train()
        finally:
            await self._rl.close()
            self._rl = None
            self._tell_fleet(stage)

    async def scale(self, rollout_workers: int | None, reward_workers: int | None) -> RunStatus:
        """Change the numbers of workers; returns at once with the run's status."""
        if self._fleet is None:
            raise NothingToScale("the run has no workers yet: its first evaluation or RL stage starts them")
        await self._fleet.scale(rollout_workers, reward_workers)
        self._emit("scale", rollout_workers=rollout_workers, reward_workers=reward_workers)
        return await self.status()

    async def status(self) -> RunStatus:
        """The run's status now."""
        fleet = self._fleet.status() if self._fleet is not None else None
        waits_for = self._rl.waits_for if self._rl is not None else ""
        return RunStatus(*self._at, dict(self._numbers), tuple(self._warnings), fleet, waits_for)

    async def stop(self) -> None:
        """Ask an RL stage to save after the step it is in and end, and an evaluation or a drawing to end now."""
        if self._rl is not None:
            self._rl.stop()
        if self._sampling is not None:
            self._sampling.interrupt()

    async def close(self) -> None:
        """End the workers."""
        if self._fleet is not None:
            await self._fleet.close()
        self.events.close()

    def _fleet_for(self, model: Path) -> Fleet:
        """The run's fleet, started at its first use for a model's architecture and tokenizer."""
        if self._fleet is None:
            self._fleet = self._open_fleet(model, self.plan.engine, self.plan.fleet, self.plan.env)
            self._fleet.start()
        return self._fleet

    def _begin(self, stage: str, total: int) -> None:
        self._at, self._numbers, self._warnings = (stage, 0, total), {}, []

    def _advance(self, stage: str, done: int, total: int) -> None:
        self._at = (stage, done, total)

    def _emit(self, event: str, **fields: Any) -> None:
        self.events.write(event, **fields)
        if event == "rl_step":
            self._at = (fields["stage"], fields["step"], fields["steps"])
            shown = ("reward", "strict", "outcome", "completion_tokens", "step_s")
            self._numbers = {k: fields[k] for k in shown if k in fields}
        elif event in WARNINGS:
            self._warnings.append(WARNINGS[event].format_map(fields))

    def _tell_fleet(self, stage: str) -> None:
        """Log the fleet's counters at the end of a stage."""
        if self._fleet is not None:
            status = self._fleet.status()
            counters = {k: v for k, v in asdict(status).items() if k != "workers"}
            self._emit("fleet", stage=stage, **counters)


def learner_plan(config: RlConfig, parent: Path, engine_dtype: str) -> LearnerPlan:
    """The plan of an RL stage's learner, which starts from the checkpoint in `parent`."""
    made = config.learning.learner_config(config.steps, config.temperature, engine_dtype)
    return LearnerPlan(made, parent, parent, reference=parent if made.kl else None)


def _publish_directory(directory: Path, version: int) -> WeightVersion:
    """Put a directory's weights into the object store. The controller owns the objects, so it must outlive readers."""
    from actors.policy.model import load
    from actors.weights.object_store import publish_model

    return publish_model(version, load(directory))
