"""A run's controller over a fake fleet and a fake learner: what it starts, logs and answers while a stage runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from actors.config import EngineConfig, FleetConfig
from actors.policy.checkpoint import CheckpointStore, Lineage
from actors.workers.fleet import Fleet
from actors.workers.status import FleetStatus
from tests.fleets import save_policy
from tests.unit.trainers.rl.test_loop import FakeFleet, config
from tests.unit.trainers.rl.test_stage import StageFake
from trainers.controller import Controller, ControllerPlan, NothingToScale, learner_plan
from trainers.evaluation.bands import Bands
from trainers.interruption import Interrupted
from trainers.learner_group.placement import Placement
from trainers.records import Batch, StepReport
from trainers.status import RunStatus

WORKERLESS = FleetStatus((), None, 2, 1, 3, 0, 0, 1e-6)


class FleetFake(FakeFleet):
    """A fleet without workers that remembers what it was asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Any] = []

    def start(self) -> None:
        self.said.append("start")

    async def close(self) -> None:
        self.said.append("close")

    async def scale(self, rollout_workers: int | None, reward_workers: int | None) -> None:
        self.said.append((rollout_workers, reward_workers))

    def status(self) -> FleetStatus:
        return WORKERLESS


class WatchedLearner(StageFake):
    """Calls `watch` before every step."""

    def __init__(self, watch: Callable[[int], Coroutine[Any, Any, None]], **fates: Any) -> None:
        super().__init__(**fates)
        self.watch = watch

    async def step(self, batch: Batch) -> StepReport:
        await self.watch(self.done)
        return await super().step(batch)


class Run:
    """A controller with a base checkpoint in its store, and what it opened."""

    def __init__(self, folder: Path, **fates: Any) -> None:
        self.fleet = FleetFake()
        self.opened: list[Path] = []
        self.seen: list[RunStatus] = []
        self.stop_at: int | None = None
        self.learner = WatchedLearner(self._watch, **fates)
        placement = Placement("learner", 1, 1.0, 0.0, {})
        plan = ControllerPlan("r", folder, 3, Bands(), EngineConfig(), FleetConfig(), placement, {})
        store = CheckpointStore(folder / "checkpoints")
        base = Lineage(run="r", stage="base", step=0, parent=None, seed=0)
        store.publish(base, lambda directory: (save_policy(directory), None)[1])
        self.controller = Controller(plan, self._open_fleet, lambda plan, placement: self.learner)
        self._metrics = folder / "metrics.jsonl"

    def _open_fleet(self, model: Path, *rest: Any) -> Fleet:
        self.opened.append(model)
        return cast("Fleet", self.fleet)

    async def _watch(self, done: int) -> None:
        self.seen.append(await self.controller.status())
        if done == self.stop_at:
            await self.controller.stop()

    def logged(self, event: str) -> list[dict[str, Any]]:
        records = map(json.loads, self._metrics.read_text().splitlines())
        return [record for record in records if record["event"] == event]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


async def test_a_stage_is_trained_from_its_parent_with_a_fleet_that_is_started_once(run: Run) -> None:
    first = await run.controller.train("rl", config(), "base-0", 3)
    second = await run.controller.train("more", config(steps=2), "base-0", 3)
    assert (first.step, second.step) == (4, 2)
    assert [path.name for path in run.opened] == ["base-0"]
    assert run.fleet.said == ["start"]
    assert run.learner.said == ["start", "stop"] * 2
    assert [(e["stage"], e["step"]) for e in run.logged("rl_step")][3:] == [("rl", 4), ("more", 1), ("more", 2)]


async def test_the_status_follows_the_stage_step_by_step(run: Run) -> None:
    await run.controller.train("rl", config(), "base-0", 3)
    assert [(at.stage, at.done, at.total) for at in run.seen] == [("rl", done, 4) for done in range(4)]
    assert run.seen[0].numbers == {}
    assert set(run.seen[1].numbers) == {"reward", "strict", "outcome", "completion_tokens", "step_s"}
    assert all(at.fleet is WORKERLESS for at in run.seen)


async def test_the_status_says_what_the_stage_waits_for(run: Run) -> None:
    run.learner.waits_for = "a free core"
    await run.controller.train("rl", config(steps=2), "base-0", 3)
    assert run.seen[0].waits_for == "a free core"
    assert (await run.controller.status()).waits_for == ""


async def test_a_stage_without_steps_in_its_budget_begins_with_an_unknown_total(run: Run) -> None:
    await run.controller.train("rl", config(steps=None, flops=1.0), "base-0", 3)
    assert (run.seen[0].done, run.seen[0].total) == (0, 0)


async def test_the_counters_of_the_fleet_are_logged_at_the_end_of_a_stage_without_its_workers(run: Run) -> None:
    await run.controller.train("rl", config(steps=2), "base-0", 3)
    (event,) = run.logged("fleet")
    assert event["stage"] == "rl"
    assert (event["rollout_restarts"], event["reward_restarts"], event["resent_groups"]) == (2, 1, 3)
    assert "workers" not in event


async def test_a_warning_names_its_cause_and_ends_with_its_stage(tmp_path: Path) -> None:
    run = Run(tmp_path, dies_at=(3,))
    await run.controller.train("rl", config(), "base-0", 3)
    lost = "the learner was lost and starts again from the last checkpoint: killed"
    assert [at.warnings for at in run.seen] == [()] * 4 + [(lost,)] * 2
    await run.controller.train("more", config(steps=2), "base-0", 3)
    assert run.seen[-1].warnings == ()


async def test_a_stage_that_is_asked_to_stop_saves_after_its_step(run: Run) -> None:
    run.stop_at = 2
    with pytest.raises(Interrupted):
        await run.controller.train("rl", config(checkpoint_every=4), "base-0", 3)
    assert run.controller.store.get("rl-3").step == 3
    assert run.learner.said[-1] == "stop"


async def test_workers_are_scaled_once_there_are_some(run: Run) -> None:
    with pytest.raises(NothingToScale, match="its first evaluation or RL stage starts them"):
        await run.controller.scale(2, None)
    await run.controller.train("rl", config(steps=2), "base-0", 3)
    status = await run.controller.scale(2, None)
    assert run.fleet.said == ["start", (2, None)]
    assert (status.stage, status.done) == ("rl", 2)
    (event,) = run.logged("scale")
    assert (event["rollout_workers"], event["reward_workers"]) == (2, None)


async def test_a_controller_that_did_nothing_is_idle_and_ends_quietly(run: Run) -> None:
    assert await run.controller.status() == RunStatus("idle", 0, 0, {}, (), None)
    await run.controller.stop()
    await run.controller.close()
    assert run.opened == []


async def test_the_fleet_ends_with_the_controller(run: Run) -> None:
    await run.controller.train("rl", config(steps=2), "base-0", 3)
    await run.controller.close()
    assert run.fleet.said == ["start", "close"]


def test_only_a_kl_penalty_needs_the_parent_as_a_reference() -> None:
    parent = Path("parent")
    plain = learner_plan(config(), parent, "bfloat16")
    assert (plain.weights, plain.tokenizer, plain.reference) == (parent, parent, None)
    assert plain.config.engine_dtype == "bfloat16"
    assert plain.config.total_steps == 4
    pulled = config(learning={"optimizer": {"learning_rate": 1e-4}, "kl": 0.1})
    assert learner_plan(pulled, parent, "float32").reference == parent
