"""The RL controller's loop: one learner step after another, as a list of named steps.

Control plane only: it moves requests, rollouts and versions, never tensors. Policy version t is what the learner holds
before step t. Staleness S lets the groups of step t be drawn by version t - S or newer; synchronous training is S = 0
of the same path. Every group is named by its slot (step, place, attempt), and slot and run seed determine its item
and its draws, so a group that is sent again is the same group, and a resumed run asks what the unbroken one asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Protocol

from actors.records import GroupRequest, JudgeRequest, RolloutGroup, Sampling
from actors.weights.version import WeightVersion
from actors.workers.rollout import SyncReport
from trainers.algorithms.advantages import has_signal
from trainers.budget import Spent
from trainers.config import RlConfig
from trainers.evaluation.ledger import paper_tokens
from trainers.learner.packing import pack
from trainers.learner.skipped import SkipLimit
from trainers.records import Batch, StepReport
from trainers.rl.buffer import GroupBuffer, Slot
from trainers.rl.curriculum import Curriculum
from verifier.errors import Failure
from verifier.families import open_task
from verifier.judgement import Judgement, TraceJudgement
from verifier.seeds import derive
from verifier.task import Item

VERIFIER_ERROR_SHARE = 0.01  # of a step's completions; above it the run stops rather than learn from what is left


class Sampler(Protocol):
    """What the loop needs of `actors.workers.fleet.Fleet`."""

    async def rollout(self, request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        """Sample one prompt and judge every completion."""
        ...

    async def sync(self, weights: WeightVersion) -> Sequence[SyncReport]:
        """Bring every worker to a published version and prove it."""
        ...


class Learner(Protocol):
    """What the loop needs of `trainers.learner_group.handle.LearnerGroup`."""

    async def step(self, batch: Batch) -> StepReport:
        """One optimiser step. Raises LearnerLost."""
        ...

    async def publish(self, version: int) -> WeightVersion:
        """Put the weights where rollout workers can fetch them. Raises LearnerLost."""
        ...


@dataclass(frozen=True, slots=True)
class LoopState:
    """What a checkpoint keeps of the loop, besides the weights and the optimiser.

    `longest` is the longest sequence so far, prompt and completion, in tokens.
    """

    step: int = 0
    curriculum: tuple[tuple[float, float], ...] = ()
    tokens: int = 0
    flops: float = 0.0
    completions: int = 0
    longest: int = 0

    @property
    def spent(self) -> Spent:
        """What the stage has spent."""
        return Spent(self.step, self.tokens, self.flops, paper_tokens(self.completions, self.longest))


@dataclass(frozen=True, slots=True)
class Drawn:
    """All that was sampled for one step: the groups to train on and every group that was judged for it."""

    trained: list[RolloutGroup]
    judged: list[RolloutGroup]
    seconds: float


class VerifierBroken(Failure):
    """The verifier failed on more completions than can be put down to one odd text."""


class RlLoop:
    """One RL stage.

    `cost` gives the FLOPs of drawing a group, `save` writes a checkpoint of a state with a score, `emit` takes an
    event for metrics.jsonl.
    """

    def __init__(
        self,
        config: RlConfig,
        seed: int,
        fleet: Sampler,
        learner: Learner,
        encode: Callable[[Item], tuple[int, ...]],
        stop_token_ids: tuple[int, ...],
        cost: Callable[[RolloutGroup], float],
        save: Callable[[LoopState, float], Awaitable[None]],
        emit: Callable[..., None],
    ) -> None:
        self.config = config
        self.task = open_task(config.task)
        self.seed = seed
        self.fleet = fleet
        self.learner = learner
        self.encode = encode
        self.stop_token_ids = stop_token_ids
        self.cost = cost
        self.save = save
        self.emit = emit
        self.stopping = False
        self.restore(LoopState())

    def restore(self, state: LoopState) -> None:
        """Take up a state: nothing of what is in flight survives, since it belongs to later steps."""
        self.state = state
        self.curriculum = Curriculum(self.task, self.config.task.mixture(), self.seed, self.config.curriculum)
        if state.curriculum:
            self.curriculum.restore(state.curriculum)
        self.buffer = GroupBuffer(self.config.max_staleness)
        self._tasks: dict[int, asyncio.Task[list[RolloutGroup]]] = {}
        self._scores: list[float] = []
        self._skip_limit = SkipLimit()

    async def run(self) -> None:
        """Train until the budget is reached, or until `stopping` is set; the state is saved either way.

        Expects the fleet to serve version `state.step`.
        """
        try:
            while not self.config.budget.reached(self.state.spent) and not self.stopping:
                self._dispatch()
                drawn = await self._drawn()
                learned, learn_s = await self._learn(drawn)
                sync_s = await self._sync()
                self._advance(drawn, learned)
                self._tell(drawn, learned, learn_s, sync_s)
                if self.state.step % self.config.checkpoint_every == 0:
                    await self._save()
            if self._scores:
                await self._save()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Cancel what is being generated for later steps."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _dispatch(self) -> None:
        """Start the groups of this step and, within the staleness bound, of the next ones."""
        last = self.state.step + self.config.max_staleness
        if self.config.steps is not None:  # nobody knows the last step of another budget: its groups are cancelled
            last = min(last, self.config.steps - 1)
        for step in range(self.state.step, last + 1):
            if step not in self._tasks:
                self._tasks[step] = asyncio.create_task(self._groups(step))

    async def _groups(self, step: int) -> list[RolloutGroup]:
        places = range(self.config.prompts_per_step)
        judged = await asyncio.gather(*(self._place(step, place) for place in places))
        return [group for groups in judged for group in groups]

    async def _place(self, step: int, place: int) -> list[RolloutGroup]:
        """Sample until a group has a gradient or the refills are spent; returns all that was judged."""
        judged: list[RolloutGroup] = []
        for attempt in range(1 + self.config.refills):
            slot = Slot(step, place, attempt)
            item = self.curriculum.item(step, place, attempt)
            by = JudgeRequest(self.config.task, item, self.config.reward)
            self.buffer.reserve(slot)
            group = judged_only(await self.fleet.rollout(self._request(slot, item), by))
            judged.append(group)
            if has_signal(group.rollouts, self.config.learning.token_credit):
                self.buffer.ready(slot, group)
                break
            self.buffer.drop(slot)
        return judged

    def _request(self, slot: Slot, item: Item) -> GroupRequest:
        config = self.config
        number = (slot.step * config.prompts_per_step + slot.place) * (1 + config.refills) + slot.attempt
        sampling = Sampling(config.max_tokens, config.temperature, stop_token_ids=self.stop_token_ids)
        draw = derive(self.seed, "rollout", slot.step, slot.place, slot.attempt)
        return GroupRequest(number, draw, self.encode(item), config.group_size, sampling)

    async def _drawn(self) -> Drawn:
        started = time.monotonic()
        judged = await self._tasks.pop(self.state.step)
        asked = len(judged) * self.config.group_size
        failed = asked - sum(len(g.rollouts) for g in judged)
        if failed > max(1, VERIFIER_ERROR_SHARE * asked):
            raise VerifierBroken(f"the verifier failed on {failed} of {asked} completions of step {self.state.step}")
        return Drawn(self.buffer.consume(self.state.step), judged, time.monotonic() - started)

    async def _learn(self, drawn: Drawn) -> tuple[StepReport | None, float]:
        """One optimiser step on the groups that have a gradient; none when no group has. Raises NotFinite."""
        started = time.monotonic()
        if not drawn.trained:
            return None, 0.0
        batch = pack(drawn.trained, self.config.learning, self.config.max_tokens)
        spent_share = self.config.budget.share(self.state.spent)
        report = await self.learner.step(replace(batch, spent_share=spent_share))
        self._skip_limit.see(report)
        return report, time.monotonic() - started

    async def _sync(self) -> float:
        started = time.monotonic()
        version = await self.learner.publish(self.state.step + 1)
        for report in await self.fleet.sync(version):
            self.emit("sync", **asdict(report))
        return time.monotonic() - started

    def _advance(self, drawn: Drawn, learned: StepReport | None) -> None:
        solved = [[r.judgement is not None and r.judgement.solved for r in g.rollouts] for g in drawn.judged]
        self.curriculum.report([g.item.stratum for g in drawn.judged], solved)
        self._scores.append(fmean(s for group in solved for s in group))
        self.state = LoopState(
            step=self.state.step + 1,
            curriculum=tuple(self.curriculum.state()),
            tokens=self.state.tokens + (learned.tokens if learned else 0),
            flops=self.state.flops + (learned.flops if learned else 0.0) + sum(map(self.cost, drawn.judged)),
            completions=self.state.completions + sum(len(g.rollouts) for g in drawn.judged),
            longest=max(self.state.longest, *_lengths(drawn)),
        )

    async def _save(self) -> None:
        await self.save(self.state, fmean(self._scores))
        self._scores = []

    def _tell(self, drawn: Drawn, learned: StepReport | None, learn_s: float, sync_s: float) -> None:
        self.emit(
            "rl_step",
            step=self.state.step,
            steps=self.config.budget.steps(self.state.spent),
            **_statistics(drawn),
            **(asdict(learned) if learned else {}),
            generate_s=drawn.seconds,
            learn_s=learn_s,
            sync_s=sync_s,
            step_s=drawn.seconds + learn_s + sync_s,
            groups=self.buffer.counts(),
        )


def judged_only(group: RolloutGroup) -> RolloutGroup:
    """The group without the completions that the verifier failed on: an exception is never a reward."""
    return replace(group, rollouts=tuple(r for r in group.rollouts if r.reward is not None))


def _shares(judgements: Sequence[Judgement]) -> dict[str, float]:
    """Means over the judged texts; those of the steps only where the family judges steps."""
    traces = [j for j in judgements if isinstance(j, TraceJudgement)]
    shares = {"outcome": fmean(j.right for j in judgements), "score": fmean(j.score for j in judgements)}
    if not traces:
        return shares
    return {
        "strict": fmean(j.verified for j in traces),
        **shares,
        "process_accuracy": fmean(j.process_accuracy for j in traces),
    }


def _lengths(drawn: Drawn) -> list[int]:
    return [len(g.prompt_ids) + len(r.completion.token_ids) for g in drawn.judged for r in g.rollouts]


def _statistics(drawn: Drawn) -> dict[str, float]:
    rollouts = [r for g in drawn.judged for r in g.rollouts]
    judgements = [r.judgement for r in rollouts if r.judgement is not None]
    return {
        "reward": fmean(r.reward for r in rollouts if r.reward is not None),
        **_shares(judgements),
        "completion_tokens": fmean(len(r.completion.token_ids) for r in rollouts),
        "truncated": fmean(r.completion.finish_reason == "length" for r in rollouts),
        "no_gradient": 1 - len(drawn.trained) / len(drawn.judged),
        "judged_groups": len(drawn.judged),
        "completions": len(rollouts),
        "longest": max(_lengths(drawn)),
    }
