"""A policy as it is asked: by RL, by an evaluation, by planted errors, by a rejection stage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from actors.records import GroupRequest, JudgeRequest, RolloutGroup
from actors.weights.version import WeightVersion
from actors.workers.rollout import SyncReport
from trainers.evaluation.ledger import sampling_flops
from verifier.task import Item

T = TypeVar("T")

LEAST_AT_ONCE: Final = 64  # groups, for a steady progress line


class Sampler(Protocol):
    """What stages need of `actors.workers.fleet.Fleet`."""

    @property
    def sequences(self) -> int:
        """How many completions its engines decode together."""
        ...

    async def rollout(self, request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        """Sample one prompt and judge every completion."""
        ...

    async def sync(self, weights: WeightVersion) -> Sequence[SyncReport]:
        """Load a published version into every worker and check its parity."""
        ...


@dataclass(frozen=True, slots=True)
class AskedPolicy:
    """How a policy is asked.

    `rollout` samples one prompt and judges every completion, as a fleet does; `encode` gives the tokens of an item's
    prompt, and `end_ids` end a completion. `cost` returns the FLOPs of drawing a group. `sequences` is the number of
    completions that its engines decode together.
    """

    rollout: Callable[[GroupRequest, JudgeRequest], Awaitable[RolloutGroup]]
    encode: Callable[[Item], tuple[int, ...]]
    end_ids: tuple[int, ...]
    cost: Callable[[RolloutGroup], float]
    sequences: int

    def groups_at_once(self, group_size: int) -> int:
        """How many groups are open together: enough for all engines, and as many again that wait for a place."""
        return max(LEAST_AT_ONCE, -(-2 * self.sequences // group_size))

    async def each(self, asks: Sequence[Callable[[], Awaitable[T]]], group_size: int) -> list[T]:
        """The results of `asks` in order; each is called when it has a place. One that fails cancels the others."""
        gate = asyncio.Semaphore(self.groups_at_once(group_size))

        async def one(ask: Callable[[], Awaitable[T]]) -> T:
            async with gate:
                return await ask()

        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(one(ask)) for ask in asks]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


def asked_policy(sampler: Sampler, directory: Path) -> AskedPolicy:
    """A model with the architecture and the text format of a directory. Loads torch. Raises ModelRefused."""
    from actors.policy.architecture import config_of
    from actors.policy.model import forward_flops
    from actors.policy.text_format import read_text_format

    text = read_text_format(directory)
    cost = partial(sampling_flops, forward=forward_flops(config_of(directory)))
    return AskedPolicy(
        sampler.rollout, lambda item: text.prompt_ids(item.prompt), text.end_ids, cost, sampler.sequences
    )
