"""Draws the groups of learner steps: which slots there are, which item each gets, and when a step is complete.

Every group is identified by its slot; the slot and the run's seed determine its item and its draws. A step begins with
one slot for each of its places. A group without a gradient is replaced at once by the next slot, until every place has
a group with a gradient or the refills are used up. The number of slots used depends only on how many groups lack a
gradient, not on the order in which they arrive, so the groups of a step are the same in every run.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from actors.records import GroupRequest, JudgeRequest, RolloutGroup, Sampling
from trainers.algorithms.signal import has_signal
from trainers.config import RlConfig
from trainers.evaluation.asking import Sampler
from trainers.rl.buffer import GroupBuffer, Slot
from verifier.errors import Failure
from verifier.seeds import derive
from verifier.task import Item

VERIFIER_ERROR_SHARE = 0.01  # of a step's completions; above it the run stops rather than learn from the rest

Ask = Callable[[Slot], Item]


@dataclass(frozen=True, slots=True)
class DrawnStep:
    """What was sampled for one step, in slot order: the groups to train on, and every group that was judged.

    `failed` counts the completions that the verifier failed on; no group contains them. `error` is what it said of the
    first of them, in slot order; None where there is none, or where the step was drawn before the run was resumed.
    """

    trained: list[RolloutGroup]
    judged: list[RolloutGroup]
    seconds: float
    failed: int = 0
    error: str | None = None


class VerifierBroken(Failure):
    """The verifier failed on more completions than one unusual text can explain; the message has its first error."""

    fix = "Correct the judge of the task or the reward, then resume the run."


class Drawing:
    """The groups of the steps in flight: `begin` a step, `take` it when it is due, `abandon` the others."""

    def __init__(
        self,
        config: RlConfig,
        seed: int,
        fleet: Sampler,
        encode: Callable[[Item], tuple[int, ...]],
        stop_token_ids: tuple[int, ...],
    ) -> None:
        self.config = config
        self.seed = seed
        self.fleet = fleet
        self.encode = encode
        self.sampling = Sampling(config.max_tokens, config.temperature, stop_token_ids=stop_token_ids)
        self.buffer = GroupBuffer(config.max_staleness, config.order == "deterministic")
        self._steps: dict[int, asyncio.Task[list[RolloutGroup]]] = {}
        self._held: dict[int, list[RolloutGroup]] = {}
        self._errors: defaultdict[int, dict[Slot, str]] = defaultdict(dict)  # of the verifier, by step

    def begin(self, step: int, ask: Ask) -> None:
        """Start to draw the groups of a step, unless it has begun; `ask` gives the item of a slot."""
        if step not in self._steps and step not in self._held:
            self._steps[step] = asyncio.create_task(self._draw(step, ask))

    async def take(self, step: int) -> DrawnStep:
        """Wait for a step's groups, and close the step. Raises VerifierBroken, StaleGroupError."""
        started = time.monotonic()
        judged = self._held.pop(step) if step in self._held else await self._steps.pop(step)
        asked = len(judged) * self.config.group_size
        failed = asked - sum(len(g.rollouts) for g in judged)
        error = self._error_of(step)
        if failed > max(1, VERIFIER_ERROR_SHARE * asked):
            said = f"the verifier failed on {failed} of {asked} completions of step {step}"
            raise VerifierBroken(f"{said}; its first error: {error}" if error else said)
        return DrawnStep(self.buffer.consume(step), judged, time.monotonic() - started, failed, error)

    async def settled(self) -> None:
        """Wait until nothing is being drawn."""
        await asyncio.gather(*self._steps.values())

    def finished(self) -> dict[int, list[RolloutGroup]]:
        """All judged groups of the steps that are drawn but not yet taken, in slot order."""
        done = {step: task.result() for step, task in self._steps.items() if task.done()}
        return dict(sorted({**self._held, **done}.items()))

    def hold(self, step: int, judged: Sequence[RolloutGroup]) -> None:
        """Put back a step that was drawn before, as `finished` returned it."""
        for number, group in enumerate(judged):
            slot = self._slot(step, number)
            self.buffer.reserve(slot)
            self._settle(slot, group)
        self._held[step] = list(judged)

    def abandon(self) -> None:
        """Cancel what is being drawn."""
        for task in self._steps.values():
            task.cancel()
        self._steps.clear()

    async def _draw(self, step: int, ask: Ask) -> list[RolloutGroup]:
        places = self.config.prompts_per_step
        slots = (self._slot(step, number) for number in range(places * (1 + self.config.refills)))
        filled = await asyncio.gather(*(self._fill(slots, ask) for _ in range(places)))
        return [group for _, group in sorted((s.order, g) for one in filled for s, g in one.items())]

    async def _fill(self, slots: Iterator[Slot], ask: Ask) -> dict[Slot, RolloutGroup]:
        """Draw the next slots until a group has a gradient or no slot is left; returns all judged groups."""
        judged: dict[Slot, RolloutGroup] = {}
        for slot in slots:
            item = ask(slot)
            self.buffer.reserve(slot)
            by = JudgeRequest(self.config.task, item, self.config.reward)
            group = await self.fleet.rollout(self._request(slot, item), by)
            if group.error is not None:
                self._errors[slot.step][slot] = group.error
            judged[slot] = judged_only(group)
            if self._settle(slot, judged[slot]):
                break
        return judged

    def _error_of(self, step: int) -> str | None:
        errors = self._errors.pop(step, {})
        return errors[min(errors, key=lambda slot: slot.order)] if errors else None

    def _settle(self, slot: Slot, group: RolloutGroup) -> bool:
        """Keep a judged group for its step if it has a gradient; returns whether it has."""
        if has_signal(group.rollouts, self.config.learning):
            self.buffer.ready(slot, group)
            return True
        self.buffer.drop(slot)
        return False

    def _slot(self, step: int, number: int) -> Slot:
        places = self.config.prompts_per_step
        return Slot(step, number % places, number // places)

    def _request(self, slot: Slot, item: Item) -> GroupRequest:
        config = self.config
        number = (slot.step * (1 + config.refills) + slot.attempt) * config.prompts_per_step + slot.place
        draw = derive(self.seed, "rollout", slot.step, slot.place, slot.attempt)
        return GroupRequest(number, draw, self.encode(item), config.group_size, self.sampling)


def judged_only(group: RolloutGroup) -> RolloutGroup:
    """The group without the completions that the verifier failed on: an exception is never a reward."""
    return replace(group, rollouts=tuple(r for r in group.rollouts if r.reward is not None))
