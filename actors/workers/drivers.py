"""Rollout and reward workers as Ray actors: how they are made, proved, called and killed.

The only module of the fleet that uses Ray.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import OwnerDiedError, RayError

from actors.config import EngineConfig, FleetConfig, engine_env
from actors.records import Completion, GroupRequest, JudgeRequest, Rollout
from actors.telemetry import Meters
from actors.weights.parity import Disagreement, Numerics, tolerance
from actors.weights.version import WeightsRefused, WeightVersion
from actors.workers.fleet import Fleet
from actors.workers.judge import RewardWorker
from actors.workers.rollout import RolloutWorker, SyncReport, WorkerHealth
from actors.workers.states import HeldWeights
from actors.workers.supervisor import WorkerFault

_RPC_MARGIN_S: Final = 10.0  # beyond the deadlines that the worker itself keeps
# Ray's own 1,000 are fewer than the groups of a large step: a health check would wait behind them until the worker
# counts as hung.
_OPEN_CALLS: Final = 10_000
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def ray_fleet(model_dir: Path, engine: EngineConfig, config: FleetConfig, env: Mapping[str, str]) -> Fleet:
    """A fleet of Ray actors.

    `model_dir` is a transformers directory with its tokenizer: it gives the engines their shape; the weights come with
    the first version. `env` is what the cluster wants in every actor's environment.
    """
    meters = Meters()
    rollout = _RolloutDriver(model_dir, engine, config, env, meters)
    return Fleet(config, rollout, _RewardDriver(model_dir, config, env), meters)


def rollout_actor(engine: EngineConfig, config: FleetConfig, env: Mapping[str, str]) -> Any:
    """The class of rollout workers as Ray makes them; `remote(name, model_dir, engine)` starts one."""
    return ray.remote(RolloutWorker).options(
        num_cpus=config.rollout_cpus,
        num_gpus=config.rollout_gpus,
        max_concurrency=_OPEN_CALLS,
        max_restarts=0,  # the fleet replaces workers, so that it alone decides what is sent again
        max_task_retries=0,
        runtime_env={"env_vars": {**env, **engine_env(engine)}},
    )


class _RolloutDriver:
    """Rollout workers as Ray actors; see `RolloutDriver`."""

    def __init__(
        self, model_dir: Path, engine: EngineConfig, config: FleetConfig, env: Mapping[str, str], meters: Meters
    ) -> None:
        self.sequences = engine.max_open_requests
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
        self._actor = rollout_actor(engine, config, env)

    def publish(self, weights: WeightVersion) -> None:
        """Set what workers must hold from now on, and drop the reports on the version before."""
        self.weights = weights
        self.reports.clear()
        self.refusals.clear()
        self._published.set()

    def create(self, name: str) -> Any:
        return self._actor.remote(name, self._model_dir, self._engine)

    async def ready(self, worker: Any) -> int:
        return await worker.start.remote()

    async def prove(self, worker: Any, name: str) -> HeldWeights | None:
        """Load and compare. A worker that refuses the version keeps the one it holds.

        A version whose publisher has died went with it, which is no fault of the worker: it waits for the next one.
        """
        await self._published.wait()
        weights, config = self.weights, self._config
        assert weights is not None
        try:
            async with asyncio.timeout(config.fetch_timeout_s + config.load_timeout_s + _RPC_MARGIN_S):
                report = await worker.load.remote(weights, config.fetch_timeout_s, config.load_timeout_s)
        except WeightsRefused as error:
            self.refused += 1
            self._meters.add("interplay_weights_refused_total")
            if self.weights is weights:  # and no other was published meanwhile
                self.refusals.append(f"{name}: {error}")
            raise
        except TimeoutError as error:
            raise WorkerFault(
                f"{name} did not take weight version {weights.version} in time: fleet.fetch_timeout_s is "
                f"{config.fetch_timeout_s:g}, fleet.load_timeout_s {config.load_timeout_s:g}"
            ) from error
        except RayError as error:
            if not isinstance(getattr(error, "cause", error), OwnerDiedError):
                raise
            if self.weights is weights:
                self._published.clear()
            return await self.prove(worker, name)
        self._note(report)
        if self.weights is weights:
            self.reports.append(report)
        apart, allowed = report.parity, self._allowed(weights)
        if not apart.within(allowed):
            raise WorkerFault(
                f"{name} differs from the learner at weight version {report.weight_version}: {apart.largest:.3g} nats "
                f"per token, {apart.mean:.3g} on average; {allowed.largest:g} and {allowed.mean:g} are allowed"
            )
        return _held(weights)

    def _allowed(self, weights: WeightVersion) -> Disagreement:
        if (given := self._config.parity_tolerance) is not None:
            return Disagreement(given, given)
        return tolerance(weights.parity.numerics, Numerics(self._engine.device, self._engine.dtype))

    def wanted(self) -> HeldWeights | None:
        return None if self.weights is None else _held(self.weights)

    async def check(self, worker: Any) -> object:
        health: WorkerHealth = await worker.health.remote()
        return health.progress if health.open_requests else None

    async def stop(self, worker: Any) -> None:
        await worker.stop.remote()

    def kill(self, worker: Any) -> None:
        ray.kill(worker, no_restart=True)

    async def generate(
        self, worker: Any, request: GroupRequest, indices: Sequence[int]
    ) -> AsyncGenerator[tuple[Completion, ...], None]:
        handed = worker.generate.options(num_returns="streaming").remote(request, tuple(indices))
        finished = False
        try:
            async for ref in handed:
                yield await ref
            finished = True
        finally:
            if not finished:
                ray.cancel(handed)

    def _note(self, report: SyncReport) -> None:
        self.parity_max = max(self.parity_max, report.parity_max_abs_diff)
        seconds = report.fetch_s + report.load_s + report.parity_s
        self._meters.set("interplay_sync_seconds", seconds, worker=report.worker)
        self._meters.set("interplay_generation_pause_seconds", report.pause_s, worker=report.worker)
        self._meters.set("interplay_parity_max_abs_diff", report.parity_max_abs_diff, worker=report.worker)


def _held(weights: WeightVersion) -> HeldWeights:
    return HeldWeights(weights.version, weights.weight_hash)


class _RewardDriver:
    """Reward workers as Ray actors; they hold no version. See `RewardDriver`."""

    def __init__(self, tokenizer_dir: Path, config: FleetConfig, env: Mapping[str, str]) -> None:
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

    async def judge(self, worker: Any, by: JudgeRequest, completions: Sequence[Completion]) -> tuple[Rollout, ...]:
        return await worker.judge.remote(by, tuple(completions))
