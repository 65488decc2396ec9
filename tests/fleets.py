"""What the tests of the fleet share: a policy with its tokenizer, prompts, and ways to look at a fleet."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.config import EngineConfig, FleetConfig
from actors.policy.model import build, save
from actors.policy.tokenizer import EOS, TokenizerConfig, build_tokenizer, load_tokenizer
from actors.records import GroupRequest, JudgeRequest, RolloutGroup, Sampling
from actors.weights.object_store import publish_model
from actors.weights.version import WeightVersion
from actors.workers.drivers import ray_fleet
from actors.workers.fleet import Fleet
from actors.workers.status import FleetStatus
from tests.tiny import POLICY
from verifier.families import config_of, open_task
from verifier.rewards.registry import Reward

TASK = config_of("graphs").model_validate({"ops": [3]})
REWARDS = (Reward("mix", alpha=0.2),)
SETTLE_S = 300.0  # an engine starts in 25 s on two cores, and in minutes where much else runs
GROUP_SIZE = 4


@dataclass(frozen=True)
class Ask:
    """One prompt to be sampled."""

    request: GroupRequest
    by: JudgeRequest


def save_policy(directory: Path) -> Path:
    """A tiny policy and the task's tokenizer as a transformers directory."""
    tokenizer = build_tokenizer(TokenizerConfig())
    save(build(POLICY, len(tokenizer), 0), tokenizer, directory)
    return directory


def publish_seed(model_dir: Path, version: int, seed: int) -> WeightVersion:
    """A version whose weights are those of `seed`; 0 is what the directory holds."""
    return publish_model(version, build(POLICY, len(load_tokenizer(model_dir)), seed))


def asks_for(model_dir: Path, count: int, max_tokens: int) -> list[Ask]:
    """`count` groups of GROUP_SIZE."""
    tokenizer = load_tokenizer(model_dir)
    sampling = Sampling(max_tokens=max_tokens, stop_token_ids=(EOS,))
    task = open_task(TASK)
    items = [task.item(task.strata()[0], seed, 0, "train") for seed in range(count)]
    prompts = [tokenizer.encode(str(item.prompt), add_special_tokens=False) for item in items]
    return [
        Ask(GroupRequest(i, 1000 + i, tuple(prompt), GROUP_SIZE, sampling), JudgeRequest(TASK, item, REWARDS))
        for i, (prompt, item) in enumerate(zip(prompts, items, strict=True))
    ]


@asynccontextmanager
async def serving(model_dir: Path, engine: EngineConfig, config: FleetConfig) -> AsyncIterator[Fleet]:
    """A fleet whose workers all hold version 1, the weights of the directory."""
    fleet = ray_fleet(model_dir, engine, config, {})
    fleet.start()
    await fleet.sync(publish_seed(model_dir, 1, seed=0))
    await fleet.settled(SETTLE_S)
    yield fleet
    await fleet.close()


async def all_groups(fleet: Fleet, asks: Sequence[Ask]) -> list[RolloutGroup]:
    """Every group, asked for at once."""
    return await asyncio.gather(*(fleet.rollout(ask.request, ask.by) for ask in asks))


def drawn(groups: Sequence[RolloutGroup]) -> list[tuple[int, list[tuple[int, tuple[int, ...], float | None]]]]:
    """What must not depend on who drew it: ids, indices, tokens and rewards."""
    return [(g.group_id, [(r.completion.index, r.completion.token_ids, r.reward) for r in g.rollouts]) for g in groups]


def pids(fleet: Fleet, kind: str) -> list[int]:
    """The process ids of the workers of a kind that are up."""
    return [w.pid for w in fleet.status().workers if w.kind == kind and w.pid is not None]


async def until(fleet: Fleet, condition: Callable[[FleetStatus], bool]) -> None:
    """Wait until the status is as wanted."""
    await fleet._changes.wait_until(lambda: condition(fleet.status()), SETTLE_S)


async def busy(fleet: Fleet, kind: str) -> None:
    """Wait until some worker of a kind has work."""
    await until(fleet, lambda status: any(w.open for w in status.workers if w.kind == kind))


def kill(pid: int) -> None:
    """As the kernel's memory killer would."""
    os.kill(pid, signal.SIGKILL)
