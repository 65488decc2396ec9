"""What an RL step costs its controller, and what keeping the rollouts adds to it.

    python -m benchmarks.controller [--prompts 1024 --group 6 --workers 24 --judges 4 --steps 2 --rounds 2]

The loop, the fleet, Ray and the reward workers are those of a run. The engines are stubs that wait and write a gold
trace, and the learner is one that answers at once, so that what is left is the controller's own work. Per group that is
the processor time of the thread of its event loop, and of its whole process with Ray's threads. Rounds with and without
the rollouts kept take turns. Bars: 1.5 ms of the thread per group, and 2% of a step for keeping them.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import psutil

from actors.config import EngineConfig, FleetConfig
from actors.engines.protocol import Engine, LoadReport, TokenDelta
from actors.policy.text_format import TextFormat, read_text_format
from actors.records import Completion, Sampling
from actors.rollouts.store import RolloutStore
from actors.rollouts.writer import RolloutWriter
from actors.telemetry import Meters
from actors.weights.parity import ParityReference
from actors.weights.version import WeightVersion
from actors.workers import drivers
from actors.workers.fleet import Fleet
from cluster.ray.resources import Resources
from cluster.ray.runtime import running
from trainers.config import RlConfig
from trainers.records import Batch, StepReport
from trainers.rl.loop import LoopHooks, RlLoop
from verifier.families import open_task
from verifier.judgement import Judgement
from verifier.task import Item

MODEL: Final = Path(__file__).parents[1] / "cluster" / "bases" / "tiny-base" / "pretrain-4500"
TASK: Final = {"ops": [6], "max_facts": 4}
PARITY: Final = ParityReference((4, 5, 6), (-1.0, -1.0))
SECONDS_PER_TOKEN: Final = 0.002


def by_chance(item: Item, text: str, judgement: Judgement) -> float:
    """Pays for every second text, so that each group has a gradient."""
    return float(len(text) % 2)


class StubEngine:
    """An `Engine` that writes the gold trace of one item, cut short by chance, at the pace of an engine."""

    weight_version = 0
    progress = 0
    open_requests = 0

    def __init__(self, gold: Sequence[int]) -> None:
        self._gold = gold

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, index: int = 0) -> Completion:
        """The trace without as many of its last tokens as the seed says."""
        token_ids = (*self._gold[: len(self._gold) - (sampling.seed or 0) % 16], *sampling.stop_token_ids[:1])
        self.progress += 1
        await asyncio.sleep(SECONDS_PER_TOKEN * len(token_ids))
        version = self.weight_version
        return Completion(index, token_ids, (-0.5,) * len(token_ids), "stop", version, version)

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[TokenDelta, None]:
        """Part of the protocol; the loop never calls it."""
        raise NotImplementedError("RL asks for whole completions")

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """What the learner says too."""
        return list(PARITY.logprobs)

    async def load(self, weights: WeightVersion, fetch_timeout_s: float, load_timeout_s: float) -> LoadReport:
        """Take the number; there are no weights."""
        self.weight_version = weights.version
        return LoadReport(weights.version, 0.0, 0.0, 0.0)

    async def stop(self) -> None:
        """Nothing to free."""


async def stub_engine(model_dir: Path, config: EngineConfig) -> Engine:
    """Start a stub in place of vLLM."""
    task = open_task(RlConfig.model_validate(settings(1, 2, 1)).task)
    gold = task.item(task.strata()[0], 0, 0, "train").gold
    assert gold is not None, "op-graph problems have gold texts"
    return StubEngine(read_text_format(model_dir).tokenizer.encode(gold, add_special_tokens=False))


class StubDriver(drivers._RolloutDriver):
    """Rollout workers as they are, around a stub."""

    def create(self, name: str) -> Any:
        """A worker that opens a stub instead of the configured engine."""
        return self._actor.remote(name, self._model_dir, self._engine, stub_engine)


class StubLearner:
    """Says at once that it has learned."""

    async def step(self, batch: Batch) -> StepReport:
        """A report with a number for every predicted token."""
        predicted = sum(len(stream.targets) for stream in batch.streams)
        logprobs = np.full(predicted, -0.5, np.float32)
        healthy = {"gradient_norm": 1.0, "learning_rate": 1e-4, "entropy": 1.0, "effective_share": 1.0}
        zero = dict.fromkeys(("loss", "kl", "clip_fraction", "mismatch_max", "mismatch_mean"), 0.0)
        zero |= dict.fromkeys(("capped_share", "masked_share", "lag_mean", "flops", "seconds"), 0.0)
        return StepReport(**healthy, **zero, tokens=batch.tokens, predicted=predicted, skipped=0, logprobs=logprobs)

    async def publish(self, version: int) -> WeightVersion:
        """A version without tensors."""
        return WeightVersion(version, (), (), "", PARITY)

    async def lost(self) -> None:
        """Never."""
        await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class Round:
    """What a round took: seconds of the clock, of the loop's thread, of its process, and of packing, in all four."""

    wall: float
    thread: float
    process: float
    packing: float
    groups: int


def settings(prompts: int, group: int, steps: int) -> dict[str, Any]:
    """The RL stage that is measured."""
    reward = {"name": f"benchmarks.controller:{by_chance.__name__}"}
    sizes = {"prompts_per_step": prompts, "group_size": group, "steps": steps, "refills": 0, "max_tokens": 512}
    return {"task": TASK, "checkpoint_every": steps + 1, "reward": reward, **sizes}


class Measured:
    """A loop whose rounds are timed; `folder` is where rollouts are kept."""

    def __init__(self, config: RlConfig, fleet: Fleet, text: TextFormat, folder: Path) -> None:
        self._config = config
        self._fleet = fleet
        self._text = text
        self._folder = folder

    async def round(self, keeps: bool) -> Round:
        """A stage from its first step to its last, with or without the rollouts kept."""
        writer = RolloutWriter(RolloutStore(self._folder, "rl", 0, self._config.keep_rollouts if keeps else 0))
        packing: list[float] = []

        def emit(event: str, **fields: Any) -> None:
            if event == "rl_step":
                packing.append(fields["learn_s"])

        hooks = LoopHooks(lambda group: 0.0, _save_nothing, _evaluate_nothing, emit, writer.offer)
        loop = RlLoop(
            self._config,
            0,
            self._fleet,
            StubLearner(),
            lambda item: self._text.prompt_ids(item.prompt),
            self._text.end_ids,
            hooks,
        )
        await self._fleet.sync(await StubLearner().publish(0))
        wall, thread, process = time.monotonic(), time.thread_time(), time.process_time()
        await loop.run()
        await asyncio.to_thread(writer.close)
        lost = writer.lost()
        assert not lost, f"the writer could not keep up: {lost[0].cause}"
        now = time.monotonic(), time.thread_time(), time.process_time()
        steps = self._config.steps or 0
        return Round(
            now[0] - wall, now[1] - thread, now[2] - process, sum(packing), steps * self._config.prompts_per_step
        )


async def _save_nothing(*_: object) -> bool:
    return True


async def _evaluate_nothing(step: int) -> float:
    return 0.0


async def measure(config: RlConfig, workers: int, judges: int, rounds: int) -> None:
    """Print a line for each round, and what the means of both kinds say."""
    engine = EngineConfig(max_open_requests=256)
    sizes = FleetConfig(rollout_workers=workers, reward_workers=judges, rollout_cpus=0.01, reward_cpus=0.01)
    meters = Meters()
    rollout = StubDriver(MODEL, engine, sizes, {}, meters)
    fleet = Fleet(sizes, rollout, drivers._RewardDriver(MODEL, sizes, {}), meters)
    fleet.start()
    await fleet.sync(await StubLearner().publish(0))
    await fleet.settled(600)
    print("round  kept  wall s  thread ms/group  process ms/group  of it packing  MiB", flush=True)
    done: dict[bool, list[Round]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        measured = Measured(config, fleet, read_text_format(MODEL), Path(folder))
        for number in range(2 * rounds + 1):  # the first one warms up and does not count
            keeps = number % 2 == 0
            one = await measured.round(keeps)
            if number:
                done[keeps].append(one)
            mib = psutil.Process().memory_info().rss / 2**20
            each = [1000 * seconds / one.groups for seconds in (one.thread, one.process, one.packing)]
            line = "  ".join(f"{value:8.2f}" for value in each)
            print(f"{number:5}  {keeps!s:5} {one.wall:6.1f}  {line}  {mib:8.0f}", flush=True)
    await fleet.close()
    without, kept = ([fmean(getattr(r, key) for r in done[k]) for key in ("wall", "process")] for k in (False, True))
    print(f"kept against not kept: wall {kept[0] / without[0]:.3f}, processor time {kept[1] / without[1]:.3f}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("prompts", 1024), ("group", 6), ("workers", 24), ("judges", 4), ("steps", 2), ("rounds", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    config = RlConfig.model_validate(settings(given.prompts, given.group, given.steps))
    with running(None, Resources(1)):
        asyncio.run(measure(config, given.workers, given.judges, given.rounds))


if __name__ == "__main__":
    main()
