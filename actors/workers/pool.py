"""The worker pool: rollout and reward workers as Ray actors, scaled apart, routed to, proved and replaced.

A plain asyncio object in the controller. A group goes to the least loaded worker that has proved its weights; each
completion is judged as it lands; what a lost worker still owed is asked of another with the same seeds, so nothing is
lost or doubled. It carries requests and records, never tensors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray

from actors.config import EngineConfig, FleetConfig, engine_env
from actors.engines.protocol import RequestRefused
from actors.records import Completion, GroupRequest, Rollout, RolloutGroup
from actors.telemetry import Meters
from actors.weights.version import WeightsRefused, WeightVersion
from actors.workers.judge import RewardWorker
from actors.workers.rollout import RolloutWorker, SyncReport, WorkerHealth
from actors.workers.states import HeldWeights, RestartPolicy, State
from actors.workers.supervisor import (
    WORKER_ERRORS,
    Changes,
    Lease,
    Supervisor,
    Timeouts,
    WorkerFault,
    WorkerStatus,
    in_a_line,
)
from verifier.graphs.problem import Problem
from verifier.rewards.registry import Rewards

_JUDGE_TRIES: Final = 3
_RPC_MARGIN_S: Final = 10.0  # beyond the deadlines that the worker itself keeps
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The pool at a glance, and what it has counted since it began."""

    workers: tuple[WorkerStatus, ...]
    weight_version: int | None
    rollout_restarts: int
    reward_restarts: int
    resent_groups: int
    verifier_errors: int
    refused_weights: int
    parity_max_abs_diff: float


class WorkerPool:
    """See the module. `await start()` first, `await close()` last.

    `model_dir` is a transformers directory with its tokenizer: it gives the engines their shape; the weights come with
    the first version. `env` is what the cluster wants in every actor's environment.
    """

    def __init__(
        self, model_dir: Path, engine: EngineConfig, config: FleetConfig, env: Mapping[str, str] | None = None
    ) -> None:
        self._config = config
        self._meters = Meters()
        self._rollout_driver = _RolloutTrade(model_dir, engine, config, dict(env or {}), self._meters)
        policy = RestartPolicy(config.max_restarts, config.restart_backoff_s, config.drain_timeout_s)
        timeouts = Timeouts(config.start_timeout_s, config.health_interval_s, config.stall_timeout_s)
        self._changes = Changes()
        self._rollout = Supervisor("rollout", self._rollout_driver, policy, timeouts, self._changes)
        reward_driver = _RewardTrade(model_dir, config, dict(env or {}))
        self._reward = Supervisor("reward", reward_driver, policy, timeouts, self._changes)
        self._resent = 0
        self._verifier_errors = 0

    async def start(self, weights: WeightVersion | None = None) -> None:
        """Start the configured workers, all at once, and wait until none is on its way.

        With `weights` they serve when this returns, else after the first `sync`. Raises NoWorkersLeft with the first
        cause if no worker of a kind came up.
        """
        if weights is not None:
            self._rollout_driver.publish(weights)
        self._rollout.resize(self._config.rollout_workers)
        self._reward.resize(self._config.reward_workers)
        await self._reward.settled(self._patience_s)
        if weights is not None:
            await self._rollout.settled(self._patience_s)

    async def scale(self, rollout_workers: int | None = None, reward_workers: int | None = None) -> None:
        """Ask for other numbers of workers; returns at once and may be asked again and again.

        Who joins serves after its proof, who leaves finishes its groups first. Raises ValueError below 1.
        """
        if rollout_workers is not None:
            self._rollout.resize(rollout_workers)
        if reward_workers is not None:
            self._reward.resize(reward_workers)
        self._count_workers()

    async def wait_until(self, condition: Callable[[PoolStatus], bool], timeout_s: float) -> None:
        """Wait until the status is as wanted. Raises TimeoutError."""
        await self._changes.wait_until(lambda: condition(self.status()), timeout_s)

    async def settled(self, timeout_s: float) -> None:
        """Wait until no worker is on the way in or out. Raises TimeoutError or NoWorkersLeft."""
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(self._rollout.settled(timeout_s), self._reward.settled(timeout_s))
        self._count_workers()

    async def sync(self, weights: WeightVersion) -> list[SyncReport]:
        """Bring every worker that is up to a version and prove it; at least one serves it when this returns.

        Workers that fail are replaced, and their successors proved before they serve. Raises WeightsRefused if every
        worker refused the version, which then keep serving what they held, and NoWorkersLeft.
        """
        driver = self._rollout_driver
        held = driver.weights
        driver.publish(weights)
        await self._rollout.prove_all()
        if driver.refusals and not driver.reports:
            driver.weights = held
            raise WeightsRefused(driver.refusals[0])
        self._rollout.drop_stale()
        async with self._rollout.lease(self._patience_s):
            pass  # somebody serves it
        self._meters.set("interplay_weight_version", weights.version)
        self._count_workers()
        return list(driver.reports)

    async def rollout(self, request: GroupRequest, problem: Problem, rewards: Rewards) -> RolloutGroup:
        """Sample one prompt and judge every completion; rollouts in index order.

        Raises RequestRefused if the prompt cannot be served, and NoWorkersLeft with the first cause.
        """
        judged: dict[int, Rollout] = {}
        while len(judged) < request.group_size:
            judging = _Judging(self, problem, rewards)
            try:
                kept = await self._sample(request, judged, judging)
                judged = kept | await judging.finish()
            finally:
                judging.cancel()
        return RolloutGroup(request.group_id, problem, request.prompt_ids, tuple(judged[i] for i in sorted(judged)))

    async def _sample(self, request: GroupRequest, have: dict[int, Rollout], judging: _Judging) -> dict[int, Rollout]:
        """Have one worker draw the samples that are missing; which of those at hand still count.

        What an earlier worker finished counts if this one would have drawn it with the same weights.
        """
        lease: Lease[Any] | None = None
        try:
            async with self._rollout.lease(self._patience_s) as lease:
                drawn_by = None if lease.held is None else lease.held.version
                have = {i: r for i, r in have.items() if r.completion.weight_version == drawn_by}
                missing = [index for index in range(request.group_size) if index not in have]
                async with aclosing(_stream(lease.worker, request, missing)) as stream:
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

    async def judge(self, problem: Problem, completions: Sequence[Completion], rewards: Rewards) -> tuple[Rollout, ...]:
        """Judge completions of one problem on some reward worker, on another if it is lost.

        Completions that no worker survives are returned with an error, like those the verifier raises on.
        """
        cause = ""
        for _ in range(_JUDGE_TRIES):
            lease: Lease[Any] | None = None
            try:
                async with self._reward.lease(self._patience_s) as lease, asyncio.timeout(self._config.judge_timeout_s):
                    return self._count(await lease.worker.judge.remote(problem, tuple(completions), rewards))
            except WORKER_ERRORS as error:
                assert lease is not None
                timed_out = isinstance(error, TimeoutError)
                cause = f"no verdict in {self._config.judge_timeout_s:g} s" if timed_out else in_a_line(error)
                self._reward.lost(lease.slot, lease.incarnation, cause)
        failed = f"{_JUDGE_TRIES} reward workers were lost on it, the last: {cause}"
        return self._count(tuple(Rollout(c, "", None, None, error=failed) for c in completions))

    def status(self) -> PoolStatus:
        """The workers and the counters now."""
        driver = self._rollout_driver
        return PoolStatus(
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
    def _patience_s(self) -> float:
        """Longer than every restart that may still save the day, so that the first cause is what is told."""
        backoff = self._config.restart_backoff_s * 2**self._config.max_restarts
        return (self._config.start_timeout_s + self._config.load_timeout_s) * (self._config.max_restarts + 1) + backoff

    def _count(self, rollouts: tuple[Rollout, ...]) -> tuple[Rollout, ...]:
        errors = sum(r.error is not None for r in rollouts)
        self._verifier_errors += errors
        self._meters.add("interplay_verifier_errors_total", errors)
        self._meters.add("interplay_completions_total", len(rollouts))
        self._meters.add("interplay_tokens_generated_total", sum(len(r.completion.token_ids) for r in rollouts))
        return rollouts

    def _count_workers(self) -> None:
        workers = self.status().workers
        for kind in ("rollout", "reward"):
            for state in State:
                count = sum(w.kind == kind and w.state is state for w in workers)
                self._meters.set("interplay_workers", count, kind=kind, state=state)


class _Judging:
    """Judges one group's completions in the order they land, one call at a time: what lands meanwhile goes together."""

    def __init__(self, pool: WorkerPool, problem: Problem, rewards: Rewards) -> None:
        self._pool = pool
        self._problem = problem
        self._rewards = rewards
        self._landed: list[Completion] = []
        self._judged: dict[int, Rollout] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, completions: Sequence[Completion]) -> None:
        self._landed.extend(completions)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def finish(self) -> dict[int, Rollout]:
        """All that landed, judged, by index."""
        if self._task is not None:
            await self._task
        return self._judged

    def cancel(self) -> None:
        """Judge no more; nothing if all is judged."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        while self._landed:
            batch, self._landed = self._landed, []
            for rollout in await self._pool.judge(self._problem, batch, self._rewards):
                self._judged[rollout.completion.index] = rollout


async def _stream(
    worker: Any, request: GroupRequest, indices: Sequence[int]
) -> AsyncGenerator[tuple[Completion, ...], None]:
    """Completions as the worker hands them out; leaving early cancels the rest there."""
    handed = worker.generate.options(num_returns="streaming").remote(request, tuple(indices))
    finished = False
    try:
        async for ref in handed:
            yield await ref
        finished = True
    finally:
        if not finished:
            ray.cancel(handed)


class _RolloutTrade:
    """How rollout workers are made and proved, and what their proofs said."""

    def __init__(
        self, model_dir: Path, engine: EngineConfig, config: FleetConfig, env: dict[str, str], meters: Meters
    ) -> None:
        self.weights: WeightVersion | None = None
        self.reports: list[SyncReport] = []
        self.refusals: list[str] = []
        self.refused = 0
        self.parity_max = 0.0
        self._published = asyncio.Event()
        self._model_dir = model_dir
        self._engine = engine
        self._config = config
        self._meters = meters
        self._actor = ray.remote(RolloutWorker).options(
            num_cpus=config.rollout_cpus,
            num_gpus=config.rollout_gpus,
            max_restarts=0,  # the pool replaces workers, so that it alone decides what is asked again
            max_task_retries=0,
            runtime_env={"env_vars": {**env, **engine_env(engine)}},
        )

    def publish(self, weights: WeightVersion) -> None:
        """What workers must hold from now on; forgets what was reported of the version before."""
        self.weights = weights
        self.reports.clear()
        self.refusals.clear()
        self._published.set()

    def create(self, name: str) -> Any:
        return self._actor.remote(name, self._model_dir, self._engine)

    async def ready(self, worker: Any) -> int:
        return await worker.start.remote()

    async def prove(self, worker: Any, name: str) -> HeldWeights | None:
        """Load and compare. A refusal is the version's fault first: a worker that holds another one keeps it."""
        await self._published.wait()
        weights, config = self.weights, self._config
        assert weights is not None
        try:
            async with asyncio.timeout(config.fetch_timeout_s + config.load_timeout_s + _RPC_MARGIN_S):
                report = await worker.load.remote(weights, config.fetch_timeout_s, config.load_timeout_s)
        except WeightsRefused as error:
            self.refusals.append(f"{name}: {error}")
            self.refused += 1
            self._meters.add("interplay_weights_refused_total")
            raise
        self._note(report)
        if not report.parity_max_abs_diff <= config.parity_tolerance:
            raise WorkerFault(
                f"{name} differs from the learner at version {report.version}: {report.parity_max_abs_diff:.3g} nats "
                f"per token, {config.parity_tolerance:g} allowed"
            )
        return _held(weights)

    def wanted(self) -> HeldWeights | None:
        return None if self.weights is None else _held(self.weights)

    async def check(self, worker: Any) -> object:
        health: WorkerHealth = await worker.health.remote()
        return health.progress if health.open_requests else None

    async def stop(self, worker: Any) -> None:
        await worker.stop.remote()

    def kill(self, worker: Any) -> None:
        ray.kill(worker, no_restart=True)

    def _note(self, report: SyncReport) -> None:
        self.reports.append(report)
        self.parity_max = max(self.parity_max, report.parity_max_abs_diff)
        seconds = report.fetch_s + report.load_s + report.parity_s
        self._meters.set("interplay_sync_seconds", seconds, worker=report.worker)
        self._meters.set("interplay_generation_pause_seconds", report.pause_s, worker=report.worker)
        self._meters.set("interplay_parity_max_abs_diff", report.parity_max_abs_diff, worker=report.worker)


def _held(weights: WeightVersion) -> HeldWeights:
    return HeldWeights(weights.version, weights.weight_hash)


class _RewardTrade:
    """How reward workers are made; they hold no version."""

    def __init__(self, tokenizer_dir: Path, config: FleetConfig, env: dict[str, str]) -> None:
        self._tokenizer_dir = tokenizer_dir
        self._actor = ray.remote(RewardWorker).options(
            num_cpus=config.reward_cpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": {**env, **_ONE_THREAD}},
        )

    def create(self, name: str) -> Any:
        return self._actor.remote(self._tokenizer_dir)

    async def ready(self, worker: Any) -> int:
        return await worker.start.remote()

    async def prove(self, worker: Any, name: str) -> HeldWeights | None:
        return None

    def wanted(self) -> HeldWeights | None:
        return None

    async def check(self, worker: Any) -> object:
        return await worker.health.remote()

    async def stop(self, worker: Any) -> None:
        await worker.stop.remote()

    def kill(self, worker: Any) -> None:
        ray.kill(worker, no_restart=True)
