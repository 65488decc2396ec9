"""An RL stage: a learner, the loop, its checkpoints, and coming back from a lost learner.

What touches disks and processes on behalf of `trainers.rl.loop`; the loop itself stays arithmetic on records. It is
given the learner and the fleet, and tells what happens as events.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from actors.policy.checkpoint import RESUME, CheckpointStore, CheckpointWriteError, Lineage
from actors.policy.text_format import read_text_format
from trainers.config import RlConfig
from trainers.evaluation.ledger import sampling_flops
from trainers.learner_group.commands import LearnerLost
from trainers.learner_group.handle import MAX_LEARNER_LOSSES
from trainers.learner_group.rank import MAX_FAILED_SAVES
from trainers.rl.loop import Learner, LoopState, RlLoop, Sampler

LOOP_STATE: Final = f"{RESUME}/loop.json"


class StageLearner(Learner, Protocol):
    """What an RL stage needs of `trainers.learner_group.handle.LearnerGroup`; every call may raise LearnerLost."""

    async def start(self) -> None:
        """Start it and wait until it can take a step."""
        ...

    async def revive(self) -> None:
        """After LearnerLost: wait until it is up again, with the weights it was planned with."""
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

    `origin` is the lineage of step 0: the run, the stage's name and seed, and the checkpoint in `store` to start from.
    """

    def __init__(
        self,
        origin: Lineage,
        config: RlConfig,
        store: CheckpointStore,
        learner: StageLearner,
        fleet: Sampler,
        emit: Callable[..., None],
    ) -> None:
        from actors.policy.architecture import config_of
        from actors.policy.model import forward_flops

        assert origin.parent is not None, "RL starts from a policy"
        self.origin = origin
        self.config = config
        self.store = store
        self.emit = emit
        self._fleet = fleet
        parent = store.path(origin.parent)
        self._learner = learner
        text = read_text_format(parent)
        self.loop = RlLoop(
            config,
            origin.seed,
            fleet,
            learner,
            lambda item: text.prompt_ids(item.prompt),
            text.end_ids,
            partial(sampling_flops, forward=forward_flops(config_of(parent))),
            self._save,
            self._tell,
        )
        self._failed_saves = 0

    async def train(self) -> LoopState:
        """Run the loop from the stage's last good checkpoint, or from the parent, over deaths of the learner.

        Returns the final state, short of the last step only when the loop was asked to stop. Raises LearnerLost.
        """
        await self._learner.start()
        for losses in range(MAX_LEARNER_LOSSES + 1):
            try:
                await self._restore()
                await self.loop.run()
                return self.loop.state
            except LearnerLost as error:
                self._tell("learner_lost", cause=str(error))
                if losses == MAX_LEARNER_LOSSES:
                    raise
                await self._learner.revive()
        raise AssertionError("the last loss is raised")

    def stop(self) -> None:
        """Ask the loop to save after the step it is in and return."""
        self.loop.stopping = True

    async def close(self) -> None:
        """End the learner's processes."""
        self.loop.abandon()
        await self._learner.stop()

    async def _restore(self) -> None:
        """Bring learner, loop and engines to the last good checkpoint of the stage; the parent if there is none."""
        last = self.store.latest(self.origin.stage)
        if last is None:
            self.loop.restore(LoopState())
        else:
            path = self.store.path(last.id)
            await self._learner.load(path)
            self.loop.restore(_read_state(path))
            self._tell("resumed", checkpoint=last.id, step=last.step)
        version = await self._learner.publish(self.loop.state.step)
        for report in await self._fleet.sync(version):
            self._tell("sync", **asdict(report))

    async def _save(self, state: LoopState, score: float) -> None:
        """Publish a checkpoint of the learner and the loop. A full disk costs a checkpoint, not the run, at first."""
        reached = {"step": state.step, "tokens": state.tokens, "flops": state.flops, "score": score}
        lineage = self.origin.model_copy(update=reached)
        here = asyncio.get_running_loop()

        def write(directory: Path) -> None:
            asyncio.run_coroutine_threadsafe(self._learner.save(directory), here).result()
            (directory / LOOP_STATE).write_text(json.dumps(asdict(state)), encoding="utf-8")

        try:
            manifest = await asyncio.to_thread(self.store.publish, lineage, write)
        except CheckpointWriteError as error:
            self._failed_saves += 1
            self._tell("save_failed", step=state.step, cause=str(error), in_a_row=self._failed_saves)
            if self._failed_saves >= MAX_FAILED_SAVES:
                raise
        else:
            self._failed_saves = 0
            self._tell("checkpoint", id=manifest.id, step=state.step, weight_hash=manifest.weight_hash, score=score)
            self.store.retain(self.origin.stage, self.config.keep_last)

    def _tell(self, event: str, **fields: Any) -> None:
        self.emit(event, stage=self.origin.stage, **fields)


def _read_state(checkpoint: Path) -> LoopState:
    record = json.loads((checkpoint / LOOP_STATE).read_text(encoding="utf-8"))
    curriculum = tuple((float(a), float(b)) for a, b in record.pop("curriculum"))
    return LoopState(curriculum=curriculum, **record)
