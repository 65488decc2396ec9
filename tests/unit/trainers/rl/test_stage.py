"""An RL stage with a learner that is lost and disks that refuse: where it goes on, what it tells, when it gives up."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from actors.policy.checkpoint import (
    RESUME,
    TOKENIZER,
    WEIGHTS,
    CheckpointStore,
    CheckpointWriteError,
    Lineage,
    Manifest,
)
from actors.records import GroupRequest, JudgeRequest, RolloutGroup
from actors.rollouts.store import RolloutStore, parts
from actors.rollouts.table import StepRollouts
from actors.rollouts.writer import RolloutWriter
from tests.fleets import save_policy
from tests.unit.trainers.rl.test_loop import FakeFleet, FakeLearner, config
from trainers.controller import WARNINGS
from trainers.deaths import MAX_DEATHS
from trainers.evaluation.asking import asked_policy
from trainers.evaluation.bands import Bands
from trainers.interruption import Interrupted
from trainers.learner_group.commands import LearnerLost
from trainers.learner_group.rank import MAX_FAILED_SAVES
from trainers.records import Batch, StepReport
from trainers.rl.stage import RlRunner


class StageFake(FakeLearner):
    """A learner whose weights are the number of its steps.

    It is lost before the steps of `dies_at`, and while it is started for the times of `dies_starting`.
    """

    waits_for = ""

    def __init__(self, dies_at: tuple[int, ...] = (), dies_starting: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.dies_at = list(dies_at)
        self.dies_starting = dies_starting
        self.done = 0
        self.said: list[str] = []

    async def start(self) -> None:
        self.said.append("start")
        self.done = 0
        if self.said.count("start") in self.dies_starting:
            raise LearnerLost("killed while it started")

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
    def __init__(
        self,
        folder: Path,
        learner: StageFake,
        fleet: FakeFleet | None = None,
        kept: type[RolloutStore] | None = None,
        **fields: Any,
    ) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.learner = learner
        self.store = CheckpointStore(folder / "checkpoints")
        if self.store.latest() is None:
            self.store.publish(
                Lineage(run="r", stage="base", step=0, parent=None, seed=0), lambda d: (save_policy(d), None)[1]
            )
        origin = Lineage(run="r", stage="rl", step=0, parent="base-0", seed=3)
        made = config(**fields)
        self.kept = (kept or RolloutStore)(folder, "rl", 3, made.keep_rollouts)
        writer = RolloutWriter(self.kept)
        fleet = fleet or FakeFleet()
        policy = asked_policy(fleet, self.store.path("base-0"))
        self.runner = RlRunner(origin, 3, made, self.store, learner, fleet, policy, self.tell, Bands(), writer)

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
    assert stage.learner.said == ["start", "start", "load rl-2"]
    assert [e["cause"] for e in stage.told("learner_lost")] == ["killed"]
    assert [e["step"] for e in stage.told("rl_step")] == [1, 2, 3, 3, 4]
    assert [e["step"] for e in stage.told("resumed")] == [2]


async def test_a_learner_lost_while_no_worker_can_start_without_its_weights_is_mended_at_once(tmp_path: Path) -> None:
    class Workerless(FakeFleet):
        """It has lost its workers with the third version, which died with the learner."""

        async def rollout(self, request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
            if self.version == 3 and not gone.is_set():
                gone.set()
            if gone.is_set() and "load rl-2" not in learner.said:
                await asyncio.Event().wait()
            return await super().rollout(request, by)

    class Killed(StageFake):
        async def lost(self) -> None:
            await (gone.wait() if self.said == ["start"] else asyncio.Event().wait())
            raise LearnerLost("killed")

    gone, learner = asyncio.Event(), Killed()
    stage = Stage(tmp_path, learner, Workerless())
    async with asyncio.timeout(60):
        assert (await stage.runner.train()).step == learner.done == 4
    assert learner.said == ["start", "start", "load rl-2"]
    assert [e["cause"] for e in stage.told("learner_lost")] == ["killed"]


async def test_a_learner_lost_before_the_first_checkpoint_begins_again_from_the_parent(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(dies_at=(1,)))
    assert (await stage.runner.train()).step == 4
    assert stage.learner.said == ["start", "start"]
    assert [e["step"] for e in stage.told("rl_step")] == [1, 1, 2, 3, 4]


async def test_a_learner_that_is_killed_while_it_is_being_mended_is_mended_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(dies_at=(3,), dies_starting=(1, 3, 4, 5)))
    assert (await stage.runner.train()).step == stage.learner.done == 4
    assert len(stage.told("learner_lost")) == 5


async def test_a_learner_that_is_lost_again_and_again_at_one_place_ends_the_stage(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(dies_at=(0,) * (MAX_DEATHS + 1)))
    with pytest.raises(LearnerLost, match="killed"):
        await stage.runner.train()
    assert len(stage.told("learner_lost")) == stage.learner.said.count("start") == MAX_DEATHS + 1


async def test_deaths_with_progress_between_them_do_not_end_a_stage(tmp_path: Path) -> None:
    steps = 2 * MAX_DEATHS
    stage = Stage(tmp_path, StageFake(dies_at=tuple(range(1, steps))), steps=steps, checkpoint_every=1)
    assert (await stage.runner.train()).step == steps
    assert len(stage.told("learner_lost")) == steps - 1


async def test_asked_to_stop_while_its_learner_comes_up_it_waits_no_longer(tmp_path: Path) -> None:
    class Never(StageFake):
        async def start(self) -> None:
            stage.runner.stop()
            await asyncio.Event().wait()

    stage = Stage(tmp_path, Never())
    with pytest.raises(Interrupted):
        await stage.runner.train()


async def test_a_second_process_goes_on_where_the_first_had_saved(tmp_path: Path) -> None:
    first = Stage(tmp_path, StageFake())
    emit = lambda event, **fields: first.runner.stop() if fields.get("step") == 2 else None  # noqa: E731
    first.runner.loop.hooks = replace(first.runner.loop.hooks, emit=emit)
    with pytest.raises(Interrupted):
        await first.runner.train()
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


async def test_a_disk_that_refuses_the_last_checkpoint_fails_the_stage_which_then_goes_on_to_its_end(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, StageFake())
    publish = stage.store.publish

    def full_at_last(lineage: Lineage, write: Callable[[Path], None]) -> Manifest:
        if lineage.step == 4:
            raise CheckpointWriteError("no space left")
        return publish(lineage, write)

    stage.store.publish = full_at_last
    with pytest.raises(CheckpointWriteError, match="no space left"):
        await stage.runner.train()
    await stage.runner.close()
    resumed = Stage(tmp_path, StageFake())
    await resumed.runner.train()
    assert [e["id"] for e in resumed.told("checkpoint")] == ["rl-4"]


async def test_older_checkpoints_that_cannot_be_deleted_cost_a_warning_and_not_the_stage(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(), checkpoint_every=1, keep_last=1)
    retain = stage.store.retain

    def stuck_once(*which: Any) -> None:
        if not stage.told("deletion_failed"):
            raise OSError(39, "Directory not empty")
        retain(*which)

    stage.store.retain = cast("Any", stuck_once)
    assert (await stage.runner.train()).step == 4
    (failed,) = stage.told("deletion_failed")
    assert (failed["step"], failed["cause"]) == (1, "[Errno 39] Directory not empty")
    assert stage.told("save_failed") == []
    assert (
        WARNINGS["deletion_failed"].format_map(failed).endswith("could not be deleted: [Errno 39] Directory not empty")
    )
    assert stage.store.list()[-1].id == "rl-4"


DETERMINISTIC = {
    "order": "deterministic",
    "max_staleness": 1,
    "checkpoint_every": 1,
    "learning": {"optimizer": {"learning_rate": 1e-4}, "correction": {"weights": "none"}},
}


async def test_a_deterministic_stage_that_is_lost_goes_on_with_the_groups_it_had_drawn_ahead(tmp_path: Path) -> None:
    straight = Stage(tmp_path / "straight", StageFake(), **DETERMINISTIC)
    lost = Stage(tmp_path / "lost", StageFake(dies_at=(2,)), **DETERMINISTIC)
    assert await straight.runner.train() == await lost.runner.train()
    versions = [[s.weight_version.tolist() for s in b.streams] for b in straight.learner.batches]
    assert [[s.weight_version.tolist() for s in b.streams] for b in lost.learner.batches] == versions


async def test_the_best_checkpoint_is_the_one_that_an_evaluation_put_first(tmp_path: Path) -> None:
    held_out = {"task": {"ops": [2], "max_facts": 4}, "problems": 2, "samples": 2}
    stage = Stage(tmp_path, StageFake(), eval_every=2, eval=held_out, checkpoint_every=1)
    await stage.runner.train()
    measured = stage.told("rl_eval")
    assert [e["step"] for e in measured] == [0, 2, 4]
    assert all({"strict_pass@1", "strict_pass@2", "outcome_pass@1", "flops", "seconds"} <= set(e) for e in measured)
    best = max(measured[1:], key=lambda e: (e["strict_pass@1"], e["step"]))
    chosen = stage.store.best()
    assert chosen is not None
    assert (chosen.id, chosen.score, chosen.evaluated) == (f"rl-{best['step']}", best["strict_pass@1"], True)
    plain = Stage(tmp_path / "plain", StageFake(), checkpoint_every=1)
    assert await plain.runner.train() == stage.runner.loop.state, "an evaluation is not of what the stage spends"


@pytest.mark.parametrize("last", [4, 2])
async def test_an_evaluation_that_a_stop_cut_short_scores_its_checkpoint_when_the_stage_goes_on(
    tmp_path: Path, last: int
) -> None:
    held_out = {"task": {"ops": [2], "max_facts": 4}, "problems": 2, "samples": 2}
    fields: dict[str, Any] = {"eval_every": 2, "eval": held_out, "checkpoint_every": 2, "steps": last}
    first = Stage(tmp_path, StageFake(), **fields)
    evaluate = first.runner.loop.hooks.evaluate

    async def cut_short(step: int) -> float:
        if step == 2:
            first.runner.stop()
            await asyncio.Event().wait()
        return await evaluate(step)

    first.runner.loop.hooks = replace(first.runner.loop.hooks, evaluate=cut_short)
    with pytest.raises(Interrupted):
        await first.runner.train()
    assert not first.store.get("rl-2").evaluated
    second = Stage(tmp_path, StageFake(), **fields)
    await second.runner.train()
    measured = {e["step"]: e["strict_pass@1"] for e in second.told("rl_eval")}
    assert {m.step: m.score for m in second.store.list() if m.stage == "rl"} == measured
    assert all(second.store.get(f"rl-{step}").evaluated for step in (2, last))


def stored(folder: Path) -> list[int]:
    return list(parts(folder / "rollouts" / "rl"))


async def test_every_step_is_kept_once_also_when_it_is_done_twice(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(dies_at=(3,)))
    await stage.runner.train()
    await stage.runner.close()
    assert [e["step"] for e in stage.told("rl_step")] == [1, 2, 3, 3, 4]
    assert stored(tmp_path) == [1, 2, 3, 4]
    assert stage.told("rollouts_lost") == []


class Slow(RolloutStore):
    """A disk that takes its time."""

    def write(self, step: StepRollouts) -> None:
        threading.Event().wait(0.2)
        super().write(step)


async def test_a_checkpoint_is_published_when_the_rollouts_before_it_are_on_disk(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(), kept=Slow)
    on_disk: list[list[int]] = []

    def tell(event: str, **fields: Any) -> None:
        if event == "checkpoint":
            on_disk.append(stored(tmp_path))

    stage.runner.emit = tell
    await stage.runner.train()
    assert on_disk == [[1, 2], [1, 2, 3, 4]]


async def test_rollouts_that_cannot_be_written_cost_a_warning_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "rollouts").write_text("a file where the folder should be")
    stage = Stage(tmp_path, StageFake())
    assert (await stage.runner.train()).step == 4
    await stage.runner.close()
    assert [e["in_a_row"] for e in stage.told("rollouts_lost")] == [1, 2, 4]


async def test_a_stage_that_keeps_no_rollouts_writes_none(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(), keep_rollouts=0)
    await stage.runner.train()
    await stage.runner.close()
    assert not (tmp_path / "rollouts").exists()


async def test_a_step_without_an_update_is_a_finding_at_once_and_told_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake(), fleet=FakeFleet(equal=True))
    await stage.runner.train()
    (finding,) = stage.told("finding")
    assert (finding["name"], finding["since"], finding["stage"]) == ("no-signal", 1, "rl")
    assert "1 without an update" in finding["line"]
    assert stage.events.index(("finding", finding)) < stage.events.index(("rl_step", stage.told("rl_step")[1]))


async def test_a_stage_that_learns_has_no_finding(tmp_path: Path) -> None:
    stage = Stage(tmp_path, StageFake())
    await stage.runner.train()
    assert stage.told("finding") == []
