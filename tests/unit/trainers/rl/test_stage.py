"""An RL stage with a learner that is lost and disks that refuse: where it goes on, what it tells, when it gives up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from actors.policy.checkpoint import RESUME, TOKENIZER, WEIGHTS, CheckpointStore, CheckpointWriteError, Lineage
from tests.fleets import save_policy
from tests.unit.trainers.rl.test_loop import FakeFleet, FakeLearner, config
from trainers.learner_group.commands import LearnerLost
from trainers.learner_group.handle import MAX_LEARNER_LOSSES
from trainers.learner_group.rank import MAX_FAILED_SAVES
from trainers.records import Batch, StepReport
from trainers.rl.stage import RlRunner


class StageFake(FakeLearner):
    """A learner whose weights are the number of its steps, and which is lost before the steps of `dies_at`."""

    def __init__(self, dies_at: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.dies_at = list(dies_at)
        self.done = 0
        self.said: list[str] = []

    async def start(self) -> None:
        self.said.append("start")

    async def revive(self) -> None:
        self.said.append("revive")
        self.done = 0

    async def load(self, directory: Path) -> None:
        self.said.append(f"load {directory.name}")
        self.done = json.loads((directory / "done.json").read_text())

    async def save(self, directory: Path) -> None:
        (directory / RESUME).mkdir()
        (directory / WEIGHTS).write_bytes(f"{self.done} steps".encode())
        for name in (TOKENIZER, "config.json"):
            (directory / name).write_text("{}")
        (directory / "done.json").write_text(json.dumps(self.done))

    async def stop(self) -> None:
        self.said.append("stop")

    async def step(self, batch: Batch) -> StepReport:
        if self.dies_at and self.done == self.dies_at[0]:
            self.dies_at.pop(0)
            raise LearnerLost("killed")
        self.done += 1
        return await super().step(batch)


class Stage:
    def __init__(self, folder: Path, learner: StageFake, **fields: Any) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.learner = learner
        self.store = CheckpointStore(folder / "checkpoints")
        if self.store.latest() is None:
            self.store.publish(
                Lineage(run="r", stage="base", step=0, parent=None, seed=0), lambda d: (save_policy(d), None)[1]
            )
        origin = Lineage(run="r", stage="rl", step=0, parent="base-0", seed=3)
        self.runner = RlRunner(origin, config(**fields), self.store, learner, FakeFleet(), self.tell)

    def tell(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    def told(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == event]


async def test_a_stage_trains_to_its_end_saves_when_due_and_frees_its_learner(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake())
    state = await stage.runner.train()
    await stage.runner.close()
    assert state.step == stage.learner.done == 4
    assert [e["id"] for e in stage.told("checkpoint")] == ["rl-2", "rl-4"]
    assert {e["stage"] for e in stage.told("rl_step")} == {"rl"}
    assert stage.learner.said == ["start", "stop"]
    saved = stage.store.get("rl-4")
    assert (saved.parent, saved.seed, saved.step, saved.tokens) == ("base-0", 3, 4, state.tokens)


async def test_a_lost_learner_costs_the_steps_since_the_last_checkpoint(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(dies_at=(3,)))
    state = await stage.runner.train()
    assert state.step == stage.learner.done == 4
    assert stage.learner.said == ["start", "revive", "load rl-2"]
    assert [e["cause"] for e in stage.told("learner_lost")] == ["killed"]
    assert [e["step"] for e in stage.told("rl_step")] == [1, 2, 3, 3, 4]
    assert [e["step"] for e in stage.told("resumed")] == [2]


async def test_a_learner_lost_before_the_first_checkpoint_begins_again_from_the_parent(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(dies_at=(1,)))
    assert (await stage.runner.train()).step == 4
    assert stage.learner.said == ["start", "revive"]
    assert [e["step"] for e in stage.told("rl_step")] == [1, 1, 2, 3, 4]


async def test_a_learner_that_is_lost_again_and_again_ends_the_stage(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(dies_at=(0,) * (MAX_LEARNER_LOSSES + 1)))
    with pytest.raises(LearnerLost, match="killed"):
        await stage.runner.train()
    assert len(stage.told("learner_lost")) == MAX_LEARNER_LOSSES + 1
    assert stage.learner.said.count("revive") == MAX_LEARNER_LOSSES


async def test_a_second_process_goes_on_where_the_first_had_saved(tmp_path: Path) -> None:
    first = Stage(tmp_path, StageFake())
    first.runner.loop.emit = lambda event, **fields: first.runner.stop() if fields.get("step") == 2 else None
    assert (await first.runner.train()).step == 2
    second = Stage(tmp_path, StageFake())
    assert (await second.runner.train()).step == 4
    assert second.learner.said == ["start", "load rl-2"]
    assert [e["step"] for e in second.told("rl_step")] == [3, 4]


async def test_a_disk_that_refuses_costs_checkpoints_and_then_the_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(), steps=20, checkpoint_every=1)

    def full(lineage: Lineage, write: object) -> None:
        raise CheckpointWriteError("no space left")

    stage.store.publish = cast("Any", full)
    with pytest.raises(CheckpointWriteError, match="no space left"):
        await stage.runner.train()
    failed = stage.told("save_failed")
    assert [e["in_a_row"] for e in failed] == list(range(1, MAX_FAILED_SAVES + 1))
    assert stage.told("checkpoint") == []
