"""The fleet: rollout and reward workers. It scales each kind, routes work to them, proves their weights, replaces them.

A plain asyncio object in the controller. A group goes to the least loaded worker that has proved its weights, and each
completion is judged as it arrives. What a lost worker had not finished is drawn by another one from the same seeds, so
nothing is lost or counted twice. Requests and records go through it, never tensors. Only `actors.workers.drivers` knows
Ray.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol

from actors.config import FleetConfig
from actors.engines.protocol import RequestRefused
from actors.records import Completion, GroupRequest, JudgeRequest, Rollout, RolloutGroup
from actors.telemetry import Meters
from actors.weights.version import WeightsRefused, WeightVersion
from actors.workers.rollout import SyncReport
from actors.workers.states import RestartPolicy
from actors.workers.status import FleetStatus
from actors.workers.supervisor import (
    WORKER_ERRORS,
    Changes,
    Lease,
    Supervisor,
    Timeouts,
    WorkerDriver,
    in_a_line,
)

_JUDGE_TRIES: Final = 3
START_TIMEOUT_S: Final = 600.0
"""From asking for a worker to its engine being ready: the first start on a machine reads gigabytes of libraries."""
DRAIN_TIMEOUT_S: Final = 60.0
"""For the open groups of a worker that leaves; then they are asked of another."""


class RolloutDriver(WorkerDriver[Any], Protocol):
    """How rollout workers are made, proved and called, and the results of their proofs of the newest version.

    `sequences` is how many completions the engine of one worker decodes together.
    """

    sequences: int
    weights: WeightVersion | None
    reports: list[SyncReport]
    refusals: list[str]
    refused: int
    parity_max: float

    def publish(self, weights: WeightVersion) -> None:
        """Set what workers must hold from now on, and drop the reports on the version before."""
        ...

    def generate(
        self, worker: Any, request: GroupRequest, indices: Sequence[int]
    ) -> AsyncGenerator[tuple[Completion, ...], None]:
        """Samples `indices` of a group as they finish; leaving early cancels the rest."""
        ...


class RewardDriver(WorkerDriver[Any], Protocol):
    """How reward workers are made and called."""

    async def judge(self, worker: Any, by: JudgeRequest, completions: Sequence[Completion]) -> tuple[Rollout, ...]:
        """The completions of one item as rollouts, in order."""
        ...


class Fleet:
    """See the module. `start()` first, `await close()` last."""

    def __init__(self, config: FleetConfig, rollout: RolloutDriver, reward: RewardDriver, meters: Meters) -> None:
        self._config = config
        self._meters = meters
        self._rollout_driver = rollout
        self._reward_driver = reward
        self._policy = RestartPolicy(config.max_restarts, config.restart_backoff_s, DRAIN_TIMEOUT_S)
        self._changes = Changes()
        self._rollout = self._supervisor("rollout", rollout, config.stall_timeout_s)
        # While it judges, a reward worker may answer nothing else.
        self._reward = self._supervisor("reward", reward, config.stall_timeout_s + config.judge_timeout_s)
        self._resent = 0
        self._verifier_errors = 0

    def start(self) -> None:
        """Begin to start all configured workers. Rollout workers are ready after the first `sync`."""
        self._rollout.resize(self._config.rollout_workers)
        self._reward.resize(self._config.reward_workers)

    async def scale(self, rollout_workers: int | None = None, reward_workers: int | None = None) -> None:
        """Set the numbers of workers; returns at once, and asking twice for the same numbers is asking once.

        A new worker gets work once it has proved its weights; one that leaves finishes its groups first. Raises
        ValueError below 1.
        """
        if rollout_workers is not None:
            self._rollout.resize(rollout_workers)
        if reward_workers is not None:
            self._reward.resize(reward_workers)

    @property
    def sequences(self) -> int:
        """How many completions the engines of all its rollout workers decode together."""
        return len(self._rollout.table.members) * self._rollout_driver.sequences

    async def settled(self, timeout_s: float) -> None:
        """Wait until no worker is starting or draining. Raises TimeoutError or NoWorkersLeft."""
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(self._rollout.settled(timeout_s), self._reward.settled(timeout_s))

    async def sync(self, weights: WeightVersion) -> list[SyncReport]:
        """Load a version into every worker that is up and prove it; at least one is ready with it when this returns.

        Workers that fail are replaced, and their successors are proved before they get work. Raises NoWorkersLeft, and
        WeightsRefused if every worker that was up refused the version; those that were ready then go on with the one
        they hold. One that starts and refuses is lost.
        """
        driver = self._rollout_driver
        held = driver.weights
        driver.publish(weights)
        await self._rollout.prove_all()
        if driver.refusals and not driver.reports:
            driver.weights = held
            raise WeightsRefused(driver.refusals[0])
        self._rollout.drop_stale()
        async with self._rollout.lease(self._deadline_s):
            pass  # a worker is ready with it
        self._meters.set("interplay_weight_version", weights.version)
        return list(driver.reports)

    async def rollout(self, request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        """Sample one prompt and judge every completion; rollouts in index order.

        Raises RequestRefused if the prompt cannot be served, and NoWorkersLeft with the first cause.
        """
        judged: dict[int, Rollout] = {}
        while len(judged) < request.group_size:
            judging = _Judging(self, by)
            try:
                kept = await self._sample(request, judged, judging)
                judged = kept | await judging.finish()
            finally:
                judging.cancel()
        return RolloutGroup(request.group_id, by.item, request.prompt_ids, tuple(judged[i] for i in sorted(judged)))

    async def _sample(self, request: GroupRequest, have: dict[int, Rollout], judging: _Judging) -> dict[int, Rollout]:
        """Let one worker draw the missing samples; returns those of `have` that still count.

        A sample of an earlier worker counts if this one holds the weights that drew it.
        """
        lease: Lease[Any] | None = None
        try:
            async with self._rollout.lease(self._deadline_s) as lease:
                drawn_by = None if lease.held is None else lease.held.version
                have = {i: r for i, r in have.items() if r.completion.weight_version == drawn_by}
                missing = [index for index in range(request.group_size) if index not in have]
                async with aclosing(self._rollout_driver.generate(lease.worker, request, missing)) as stream:
                    async for completions in stream:
                        judging.add(completions)
        except RequestRefused:
            raise
        except WORKER_ERRORS as error:
            assert lease is not None
            self._rollout.lost(lease.slot, lease.incarnation, in_a_line(error))
            self._resent += 1
            self._meters.add("interplay_groups_resent_total")
        return have

    async def judge(self, by: JudgeRequest, completions: Sequence[Completion]) -> tuple[Rollout, ...]:
        """Judge completions of one item on a reward worker, and on another one if that is lost.

        A judge that gives no judgement within `judge_timeout_s` is ended with its process. It is not known then on
        which of several completions it hangs, so each is judged once more by itself. A completion that is not judged
        after that, or that ends every worker that tries, is returned with an error, as one on which the judge raises.
        """
        rollouts = await self._judged(by, completions)
        if rollouts is None and len(completions) > 1:
            alone = await asyncio.gather(*(self._judged(by, (c,)) for c in completions))
            rollouts = tuple(
                self._hung(c) if one is None else one[0] for c, one in zip(completions, alone, strict=True)
            )
        return self._count(rollouts or tuple(self._hung(c) for c in completions))

    async def _judged(self, by: JudgeRequest, completions: Sequence[Completion]) -> tuple[Rollout, ...] | None:
        """The judged completions; None if the judge took too long.

        The time of a judgement begins when its worker turns to it: a call that waits for a worker, or behind another
        one that hangs, is neither late nor a try.
        """
        cause, tries = "", 0
        while tries < _JUDGE_TRIES:
            try:
                async with self._reward.lease(self._deadline_s) as lease, lease.turn:
                    tries += 1
                    return await self._judged_by(lease, by, completions)
            except WORKER_ERRORS as error:
                cause = in_a_line(error)
        failed = f"{_JUDGE_TRIES} reward workers were lost on it, the last: {cause}"
        return tuple(Rollout(c, "", None, None, error=failed) for c in completions)

    async def _judged_by(
        self, lease: Lease[Any], by: JudgeRequest, completions: Sequence[Completion]
    ) -> tuple[Rollout, ...] | None:
        """As `_judged`, by one worker. It is given up within the turn, so that no other call begins on a lost one."""
        limit = asyncio.timeout(self._config.judge_timeout_s)
        try:
            async with limit:
                return await self._reward_driver.judge(lease.worker, by, completions)
        except WORKER_ERRORS as error:
            if limit.expired():
                cause = f"no judgement in {self._config.judge_timeout_s:g} s"
                self._reward.replace(lease.slot, lease.incarnation, cause)
                return None
            self._reward.lost(lease.slot, lease.incarnation, in_a_line(error))
            raise

    def _hung(self, completion: Completion) -> Rollout:
        hung = f"the judge gave no judgement in {self._config.judge_timeout_s:g} s and was ended"
        return Rollout(completion, "", None, None, error=hung)

    def status(self) -> FleetStatus:
        """The workers and the counters now."""
        driver = self._rollout_driver
        return FleetStatus(
            workers=self._rollout.status() + self._reward.status(),
            weight_version=None if driver.weights is None else driver.weights.version,
            rollout_restarts=self._rollout.table.restarts,
            reward_restarts=self._reward.table.restarts,
            resent_groups=self._resent,
            verifier_errors=self._verifier_errors,
            refused_weights=driver.refused,
            parity_max_abs_diff=driver.parity_max,
        )

    async def close(self) -> None:
        """End all workers; safe to call twice."""
        await asyncio.gather(self._rollout.close(), self._reward.close())

    @property
    def _deadline_s(self) -> float:
        """Longer than all restarts together, so that an error names the first cause and not this wait."""
        restarts = self._config.max_restarts
        return (START_TIMEOUT_S + self._config.load_timeout_s + self._policy.pause_s(restarts)) * (restarts + 1)

    def _supervisor(self, kind: str, driver: WorkerDriver[Any], stall_s: float) -> Supervisor[Any]:
        timeouts = Timeouts(START_TIMEOUT_S, self._config.health_interval_s, stall_s)
        return Supervisor(kind, driver, self._policy, timeouts, self._changes, self._meters)

    def _count(self, rollouts: tuple[Rollout, ...]) -> tuple[Rollout, ...]:
        errors = sum(r.error is not None for r in rollouts)
        self._verifier_errors += errors
        self._meters.add("interplay_verifier_errors_total", errors)
        self._meters.add("interplay_completions_total", len(rollouts))
        self._meters.add("interplay_tokens_generated_total", sum(len(r.completion.token_ids) for r in rollouts))
        return rollouts


class _Judging:
    """Judges the completions of a group one call at a time; those that arrive during a call share the next one."""

    def __init__(self, fleet: Fleet, by: JudgeRequest) -> None:
        self._fleet = fleet
        self._by = by
        self._arrived: list[Completion] = []
        self._judged: dict[int, Rollout] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, completions: Sequence[Completion]) -> None:
        self._arrived.extend(completions)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def finish(self) -> dict[int, Rollout]:
        """All completions that arrived, judged, by index."""
        if self._task is not None:
            await self._task
        return self._judged

    def cancel(self) -> None:
        """Stop judging; does nothing if all is judged."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        while self._arrived:
            batch, self._arrived = self._arrived, []
            for rollout in await self._fleet.judge(self._by, batch):
                self._judged[rollout.completion.index] = rollout
