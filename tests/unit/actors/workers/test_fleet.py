"""The fleet over drivers that are plain objects: groups whole and in order whatever is lost, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from actors.config import FleetConfig
from actors.engines.protocol import EngineDead, RequestRefused
from actors.records import Completion, GroupRequest, JudgeRequest, Rollout, Sampling
from actors.telemetry import Meters
from actors.weights.parity import ParityReference
from actors.weights.version import WeightsRefused, WeightVersion
from actors.workers.fleet import Fleet
from actors.workers.rollout import SyncReport
from actors.workers.states import HeldWeights, NoWorkersLeft
from actors.workers.supervisor import WorkerFault
from tests.tasks import ITEM
from verifier.families import config_of
from verifier.rewards.registry import Reward

pytestmark = pytest.mark.timeout(60)

CONFIG = FleetConfig(restart_backoff_s=0.0, health_interval_s=0.01, max_restarts=2, judge_timeout_s=5.0)
BY = JudgeRequest(config_of("graphs").model_validate({"ops": [2]}), ITEM, (Reward("outcome"),))
REQUEST = GroupRequest(7, 1, (1, 2), 4, Sampling(max_tokens=2))
SETTLE_S = 20.0


def version(number: int) -> WeightVersion:
    return WeightVersion(number, (), (), f"hash {number}", ParityReference((), ()))


@dataclass
class Worker:
    name: str
    held: int | None = None
    alive: bool = True
    stuck: bool = False


@dataclass
class FakeDriver:
    """What both kinds share: workers that start at once and never hang."""

    created: list[Worker] = field(default_factory=list)

    def create(self, name: str) -> Worker:
        self.created.append(Worker(name))
        return self.created[-1]

    async def ready(self, worker: Worker) -> int:
        return self.created.index(worker)

    async def check(self, worker: Worker) -> object:
        if not worker.alive:
            raise EngineDead("gone")
        return None

    async def stop(self, worker: Worker) -> None:
        worker.alive = False

    def kill(self, worker: Worker) -> None:
        worker.alive = False


@dataclass
class FakeRollout(FakeDriver):
    """Draws one token per sample; `dies_after` counts the samples that the first worker hands out before it is lost."""

    sequences: int = 8
    weights: WeightVersion | None = None
    reports: list[SyncReport] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    refused: int = 0
    parity_max: float = 0.0
    dies_after: int | None = None
    refuses: set[int] = field(default_factory=set)
    asked: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    published: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, weights: WeightVersion) -> None:
        self.weights = weights
        self.reports.clear()
        self.refusals.clear()
        self.published.set()

    async def prove(self, worker: Worker, name: str) -> HeldWeights | None:
        await self.published.wait()
        assert self.weights is not None
        number = self.weights.version
        if number in self.refuses:
            self.refusals.append(f"{name}: of another shape")
            self.refused += 1
            raise WeightsRefused(self.refusals[-1])
        worker.held = number
        self.reports.append(SyncReport(number, 0.0, 0.0, 0.0, name, 0.0, 0.0, 0.0))
        return self.wanted()

    def wanted(self) -> HeldWeights | None:
        return None if self.weights is None else HeldWeights(self.weights.version, self.weights.weight_hash)

    async def generate(
        self, worker: Worker, request: GroupRequest, indices: Sequence[int]
    ) -> AsyncGenerator[tuple[Completion, ...], None]:
        if request.sampling.max_tokens == 0:
            raise RequestRefused("nothing to draw")
        self.asked.append((worker.name, tuple(indices)))
        assert worker.held is not None
        for number, index in enumerate(indices):
            if worker is self.created[0] and number == self.dies_after:
                raise EngineDead("killed")
            yield (Completion(index, (index,), (0.0,), "stop", worker.held, worker.held),)
            await asyncio.sleep(0)


@dataclass
class FakeReward(FakeDriver):
    """Rewards a completion by its index; the first `faults` calls lose their worker.

    As with a real one, a call that hangs leaves no other call of its worker a chance.
    """

    faults: int = 0
    hangs_on: int | None = None
    starts_in_s: float = 0.0
    calls: int = 0

    async def ready(self, worker: Worker) -> int:
        await asyncio.sleep(self.starts_in_s)
        return await super().ready(worker)

    async def prove(self, worker: Worker, name: str) -> HeldWeights | None:
        return None

    def wanted(self) -> HeldWeights | None:
        return None

    async def judge(self, worker: Worker, by: JudgeRequest, completions: Sequence[Completion]) -> tuple[Rollout, ...]:
        self.calls += 1
        await asyncio.sleep(0)  # a real one is never there at once
        if worker.stuck or self.hangs_on in [c.index for c in completions]:
            worker.stuck = True
            await asyncio.Event().wait()
        if self.calls <= self.faults:
            raise WorkerFault("out of memory")
        return tuple(Rollout(c, "", None, float(c.index)) for c in completions)


@asynccontextmanager
async def fleet_of(
    rollout: FakeRollout, reward: FakeReward, workers: int = 1, config: FleetConfig = CONFIG
) -> AsyncIterator[Fleet]:
    fleet = Fleet(config.model_copy(update={"rollout_workers": workers}), rollout, reward, Meters())
    fleet.start()
    try:
        yield fleet
    finally:
        await fleet.close()


async def test_a_group_comes_back_whole_judged_and_in_order() -> None:
    async with fleet_of(FakeRollout(), FakeReward()) as fleet:
        await fleet.sync(version(1))
        group = await fleet.rollout(REQUEST, BY)
    assert (group.group_id, group.item, group.prompt_ids) == (7, ITEM, (1, 2))
    assert [(r.completion.index, r.reward) for r in group.rollouts] == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]


async def test_what_a_lost_worker_had_finished_counts_and_only_the_rest_is_asked_again() -> None:
    rollout = FakeRollout(dies_after=2)
    async with fleet_of(rollout, FakeReward()) as fleet:
        await fleet.sync(version(1))
        group = await fleet.rollout(REQUEST, BY)
        assert fleet.status().resent_groups == 1
    assert [indices for _, indices in rollout.asked] == [(0, 1, 2, 3), (2, 3)]
    assert [r.completion.index for r in group.rollouts] == [0, 1, 2, 3]


async def test_what_a_lost_worker_drew_with_other_weights_is_drawn_again() -> None:
    class Moved(FakeRollout):
        """Publishes the next version when the first worker is lost."""

        async def generate(self, worker, request, indices):
            async for completions in super().generate(worker, request, indices):
                yield completions
                if worker is self.created[0] and completions[0].index == 1:
                    self.publish(version(2))

    rollout = Moved(dies_after=2)
    async with fleet_of(rollout, FakeReward()) as fleet:
        await fleet.sync(version(1))
        group = await fleet.rollout(REQUEST, BY)
    assert [indices for _, indices in rollout.asked] == [(0, 1, 2, 3), (0, 1, 2, 3)]
    assert {r.completion.weight_version for r in group.rollouts} == {2}


async def test_completions_are_judged_by_another_worker_when_theirs_is_lost() -> None:
    async with fleet_of(FakeRollout(), FakeReward(faults=2)) as fleet:
        await fleet.sync(version(1))
        group = await fleet.rollout(REQUEST, BY)
        assert fleet.status().verifier_errors == 0
    assert all(r.error is None for r in group.rollouts)


async def test_a_judge_that_hangs_costs_its_own_completion_alone_and_the_worker_nothing() -> None:
    reward = FakeReward(hangs_on=2)
    config = CONFIG.model_copy(update={"judge_timeout_s": 0.1, "max_restarts": 0})
    async with fleet_of(FakeRollout(), reward, config=config) as fleet:
        await fleet.sync(version(1))
        completions = [Completion(i, (1,), (0.0,), "stop", 1, 1) for i in range(4)]
        for _ in range(3):
            rollouts = await fleet.judge(BY, completions)
            assert [r.reward for r in rollouts] == [0.0, 1.0, None, 3.0]
            assert "gave no judgement in 0.1 s" in (rollouts[2].error or "")
        assert fleet.status().verifier_errors == 3
    assert len(reward.created) > 3, "a worker that hangs is replaced"
    assert not all(worker.alive for worker in reward.created)


@pytest.mark.parametrize(("hangs_on", "faults"), [(0, 0), (None, 1)], ids=["hung", "lost"])
async def test_no_call_begins_on_a_reward_worker_that_the_one_before_cost(hangs_on: int | None, faults: int) -> None:
    class Watched(FakeReward):
        async def judge(self, worker, by, completions):
            assert worker.alive
            return await super().judge(worker, by, completions)

    config = CONFIG.model_copy(update={"judge_timeout_s": 0.1})
    async with fleet_of(FakeRollout(), Watched(hangs_on=hangs_on, faults=faults), config=config) as fleet:
        completions = [Completion(i, (1,), (0.0,), "stop", 1, 1) for i in range(3)]
        judged = await asyncio.gather(*(fleet.judge(BY, [c]) for c in completions))
    assert [rollout.reward for (rollout,) in judged] == [0.0 if hangs_on is None else None, 1.0, 2.0]


async def test_a_judge_may_take_longer_than_a_worker_may_be_silent() -> None:
    class Busy(FakeReward):
        """Answers no check while it judges."""

        async def check(self, worker: Worker) -> object:
            if worker.stuck:
                raise TimeoutError
            return await super().check(worker)

        async def judge(self, worker, by, completions):
            worker.stuck = True
            await asyncio.sleep(0.5)
            worker.stuck = False
            return await super().judge(worker, by, completions)

    config = CONFIG.model_copy(update={"stall_timeout_s": 0.1, "judge_timeout_s": 20.0})
    async with fleet_of(FakeRollout(), Busy(), config=config) as fleet:
        (rollout,) = await fleet.judge(BY, [Completion(3, (1,), (0.0,), "stop", 1, 1)])
        assert (rollout.reward, fleet.status().reward_restarts) == (3.0, 0)


async def test_the_time_for_a_judgement_does_not_run_while_it_waits_for_a_worker() -> None:
    config = CONFIG.model_copy(update={"judge_timeout_s": 0.1})
    async with fleet_of(FakeRollout(), FakeReward(starts_in_s=0.3), config=config) as fleet:
        (rollout,) = await fleet.judge(BY, [Completion(0, (1,), (0.0,), "stop", 1, 1)])
    assert (rollout.reward, rollout.error) == (0.0, None)


async def test_completions_that_no_reward_worker_survives_have_an_error_and_no_reward() -> None:
    reward = FakeReward(faults=3)
    async with fleet_of(FakeRollout(), reward) as fleet:
        await fleet.sync(version(1))
        completion = Completion(0, (1,), (0.0,), "stop", 1, 1)
        (rollout,) = await fleet.judge(BY, [completion])
        assert fleet.status().verifier_errors == 1
    assert (rollout.reward, reward.calls) == (None, 3)
    assert "3 reward workers were lost on it, the last: out of memory" in (rollout.error or "")


async def test_a_request_that_cannot_be_served_costs_no_worker() -> None:
    refused = GroupRequest(1, 1, (1,), 1, Sampling(max_tokens=0))
    async with fleet_of(FakeRollout(), FakeReward()) as fleet:
        await fleet.sync(version(1))
        with pytest.raises(RequestRefused, match="nothing to draw"):
            await fleet.rollout(refused, BY)
        assert (fleet.status().rollout_restarts, fleet.status().resent_groups) == (0, 0)


async def test_a_version_that_every_worker_refuses_is_taken_back() -> None:
    rollout = FakeRollout(refuses={2})
    async with fleet_of(rollout, FakeReward(), workers=2) as fleet:
        await fleet.sync(version(1))
        await fleet.settled(SETTLE_S)
        with pytest.raises(WeightsRefused, match="of another shape"):
            await fleet.sync(version(2))
        status = fleet.status()
        assert (status.weight_version, status.refused_weights, status.rollout_restarts) == (1, 2, 0)
        assert {r.completion.weight_version for r in (await fleet.rollout(REQUEST, BY)).rollouts} == {1}


async def test_scaling_to_nothing_is_refused_and_scaling_one_kind_leaves_the_other() -> None:
    async with fleet_of(FakeRollout(), FakeReward()) as fleet:
        await fleet.sync(version(1))
        await fleet.scale(rollout_workers=3)
        await fleet.settled(SETTLE_S)
        assert sorted(w.kind for w in fleet.status().workers) == ["reward", "rollout", "rollout", "rollout"]
        with pytest.raises(ValueError, match="at least one worker"):
            await fleet.scale(reward_workers=0)


async def test_any_number_of_restarts_may_be_allowed() -> None:
    config = CONFIG.model_copy(update={"max_restarts": 5000, "restart_backoff_s": 0.5})
    async with fleet_of(FakeRollout(), FakeReward(), config=config) as fleet:
        assert [report.weight_version for report in await fleet.sync(version(1))] == [1]


async def test_when_no_worker_comes_up_the_first_cause_reaches_whoever_syncs() -> None:
    class Broken(FakeRollout):
        async def ready(self, worker: Worker) -> int:
            raise EngineDead(f"no such model, said {len(self.created)}")

    async with fleet_of(Broken(), FakeReward()) as fleet:
        with pytest.raises(NoWorkersLeft, match="no such model, said 1"):
            await fleet.sync(version(1))
