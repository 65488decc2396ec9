"""An RL stage: a learner, the loop, its checkpoints, and the recovery from a lost learner.

It does the disk and process work for `trainers.rl.loop`, which itself only computes on records. It is given the learner
and the fleet, and reports its progress as events.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from actors.diagnosis.findings import Watch
from actors.policy.checkpoint import RESUME, CheckpointStore, CheckpointWriteError, Lineage, Manifest
from actors.rollouts.table import StepRollouts
from actors.rollouts.writer import RolloutWriter
from actors.telemetry import read_events
from trainers.config import RlConfig
from trainers.deaths import MAX_DEATHS, DeathLimit
from trainers.evaluation.asking import AskedPolicy, Sampler
from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import RL_SEED, Evaluation, curve, evaluate, held_out, kinds
from trainers.interruption import Interruptible
from trainers.learner_group.commands import LearnerLost
from trainers.learner_group.rank import MAX_FAILED_SAVES
from trainers.rl.drawn_ahead import read_groups, write_groups
from trainers.rl.loop import Learner, LoopHooks, LoopState, RlLoop, Score

LOOP_STATE: Final = f"{RESUME}/loop.json"
AHEAD: Final = f"{RESUME}/ahead.jsonl"


class StageLearner(Learner, Protocol):
    """What an RL stage needs of `trainers.learner_group.handle.LearnerGroup`; every call may raise LearnerLost.

    `waits_for` says what its start waits for; it is empty when the learner is up.
    """

    waits_for: str

    async def start(self) -> None:
        """Start it, or start it again after LearnerLost, and wait until it holds the weights of its plan."""
        ...

    async def load(self, directory: Path) -> None:
        """Continue exactly from a checkpoint that `save` wrote."""
        ...

    async def save(self, directory: Path) -> None:
        """Fill `directory` with a checkpoint's files, the optimiser included."""
        ...

    async def stop(self) -> None:
        """End it."""
        ...


class RlRunner:
    """One RL stage; `train` runs it to its end, `stop` asks it to end early, `close` frees the learner.

    `origin` is the lineage of step 0, with the checkpoint in `store` to start from; `seed` is that of all draws.
    An evaluation between steps measures the target of `bands` with the `policy` that the engines of `fleet` hold.
    """

    def __init__(
        self,
        origin: Lineage,
        seed: int,
        config: RlConfig,
        store: CheckpointStore,
        learner: StageLearner,
        fleet: Sampler,
        policy: AskedPolicy,
        emit: Callable[..., None],
        bands: Bands,
        rollouts: RolloutWriter,
    ) -> None:
        assert origin.parent is not None, "RL starts from a policy"
        self.origin = origin
        self.config = config
        self.store = store
        self.emit = emit
        self.bands = bands
        self._fleet = fleet
        self._policy = policy
        self._learner = learner
        self._rollouts = rollouts
        self._watch = Watch(origin.stage, read_events(store.root.parent / "metrics.jsonl"))
        hooks = LoopHooks(policy.cost, self._save, self._evaluate, self._tell, self._keep)
        self.loop = RlLoop(config, seed, fleet, learner, policy.encode, policy.end_ids, hooks)
        self._failed_saves = 0
        self._restored: Manifest | None = None
        self._restoring = Interruptible()

    @property
    def waits_for(self) -> str:
        """What the stage waits for before its next step, if it is known."""
        return self._learner.waits_for

    async def train(self) -> LoopState:
        """Run the loop from the stage's last good checkpoint, or from the parent; a learner that dies is restarted.

        Returns the final state. Raises LearnerLost if the learner keeps dying, and Interrupted if it was asked to stop,
        once it has saved.
        """
        deaths = DeathLimit(MAX_DEATHS)
        while True:
            try:
                await self._restoring.run(self._restore())
                await self.loop.run()
                return self.loop.state
            except LearnerLost as error:
                self._tell("learner_lost", cause=str(error))
                deaths.reached(self.loop.state.step)
                if deaths.one_too_many():
                    raise

    def stop(self) -> None:
        """Ask the loop to finish its step, save and end; a start or an evaluation ends at once."""
        self.loop.stop()
        self._restoring.interrupt()

    async def close(self) -> None:
        """End the learner's processes, and what is written beside the loop."""
        self.loop.abandon()
        await self._learner.stop()
        await asyncio.to_thread(self._rollouts.close)
        self._tell_lost()

    async def _restore(self) -> None:
        """Load the stage's last good checkpoint, or the parent, into learner, loop and engines."""
        await self._learner.start()
        self._restored = last = self.store.latest(self.origin.stage)
        if last is None:
            self.loop.restore(LoopState())
        else:
            path = self.store.path(last.id)
            await self._learner.load(path)
            ahead = read_groups(path / AHEAD, self.config.task)
            self.loop.restore(_read_state(path), ahead, last.evaluated)
            self._tell("resumed", checkpoint=last.id, step=last.step)
        self._rollouts.rewind(self.loop.state.step)
        version = await self._learner.publish(self.loop.state.step)
        for report in await self.loop.unless_lost(self._fleet.sync(version)):
            self._tell("sync", **asdict(report))

    async def _evaluate(self, step: int) -> float:
        """Evaluate the policy before a step on held-out problems; returns pass@1 of the target band, read strictly."""
        config = self.config.eval
        assert config is not None
        items = held_out(config, self.bands, RL_SEED)
        name = f"{self.origin.stage}-{step}"
        measured = await evaluate(self._policy, name, items, config, RL_SEED, lambda done, total: None)
        passes = self._passes(measured)
        spent = {"tokens": measured.tokens, "flops": measured.flops, "seconds": measured.seconds}
        self._tell("rl_eval", step=step, **spent, **passes)
        score = next(iter(passes.values()))
        if self._restored is not None and self._restored.step == step:  # it was saved when a stop cut this short
            await asyncio.to_thread(self.store.rescore, self._restored.id, score)
        return score

    def _passes(self, measured: Evaluation) -> dict[str, float]:
        target = [s for s in measured.scores if self.bands.holds(self.bands.target, s.stratum)] or measured.scores
        return {f"{kind}_pass@{k}": value for kind in kinds(target) for k, value in curve(target, kind).items()}

    def _keep(self, step: StepRollouts) -> None:
        self._rollouts.offer(step)
        self._tell_lost()

    def _tell_lost(self) -> None:
        """Tell of rollouts that could not be kept: the first, and then each time that their number has doubled."""
        for lost in self._rollouts.lost():
            if lost.in_a_row & (lost.in_a_row - 1) == 0:
                self._tell("rollouts_lost", **asdict(lost))

    async def _save(self, state: LoopState, score: Score) -> bool:
        """Publish a checkpoint of the learner and the loop; returns whether it could.

        Raises CheckpointWriteError for the last one of the stage and the third in a row.
        """
        reached = {"step": state.step, "tokens": state.tokens, "flops": state.flops}
        reached |= {"score": score.value, "evaluated": score.evaluated}
        ahead = self.loop.drawing.finished() if self.config.order == "deterministic" else {}
        lineage = self.origin.model_copy(update=reached)
        here = asyncio.get_running_loop()

        def write(directory: Path) -> None:
            asyncio.run_coroutine_threadsafe(self._learner.save(directory), here).result()
            (directory / LOOP_STATE).write_text(json.dumps(asdict(state)), encoding="utf-8")
            write_groups(directory / AHEAD, ahead)
            self._rollouts.settle()  # a run that is resumed from here does not do these steps again

        try:
            manifest = await asyncio.to_thread(self.store.publish, lineage, write)
        except CheckpointWriteError as error:
            self._failed_saves += 1
            self._tell("save_failed", step=state.step, cause=str(error), in_a_row=self._failed_saves)
            if self._failed_saves >= MAX_FAILED_SAVES or self.config.budget.reached(state.spent):
                raise
            return False
        self._failed_saves = 0
        self._tell("checkpoint", id=manifest.id, step=state.step, weight_hash=manifest.weight_hash, **asdict(score))
        await self._retain(state.step)
        return True

    async def _retain(self, step: int) -> None:
        """Delete older checkpoints; what cannot be deleted now is tried again after the next."""
        try:
            await asyncio.to_thread(self.store.retain, self.origin.stage, self.config.keep_last)
        except OSError as error:
            self._tell("deletion_failed", step=step, cause=str(error))

    def _tell(self, event: str, **fields: Any) -> None:
        self.emit(event, stage=self.origin.stage, **fields)
        if event == "rl_step":
            for finding in self._watch.see(fields):
                self.emit("finding", **asdict(finding), line=finding.line)


def _read_state(checkpoint: Path) -> LoopState:
    record = json.loads((checkpoint / LOOP_STATE).read_text(encoding="utf-8"))
    curriculum = tuple(tuple((float(a), float(b)) for a, b in known) for known in record.pop("curriculum"))
    return LoopState(curriculum=curriculum, **record)
