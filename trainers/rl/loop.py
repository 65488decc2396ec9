"""The RL loop: one learner step after another, as a list of named steps.

It is control plane only: it moves requests, rollouts and versions, never tensors. Policy version t is what the learner
holds before step t. With staleness S the groups of step t are drawn by version t - S or newer, in order of arrival
(`order: arrival`), or all by version max(0, t - S) (`order: deterministic`). Synchronous training is the case S = 0.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any, Protocol, TypeVar

from actors.records import RolloutGroup
from actors.rollouts.table import StepRollouts
from actors.weights.version import WeightVersion
from trainers.budget import Spent
from trainers.config import RlConfig
from trainers.evaluation.asking import Sampler
from trainers.evaluation.ledger import paper_tokens
from trainers.interruption import Interrupted, Interruptible, unless
from trainers.learner.packing import pack
from trainers.learner.skipped import SkipLimit
from trainers.records import Batch, StepReport
from trainers.rl.buffer import Slot
from trainers.rl.curriculum import Curriculum, State
from trainers.rl.drawing import Drawing, DrawnStep
from trainers.rl.judged import Learned, judged_step
from trainers.rl.statistics import by_stratum, lengths, solved, statistics
from verifier.families import open_task
from verifier.task import Item

T = TypeVar("T")


class Learner(Protocol):
    """What the loop needs of `trainers.learner_group.handle.LearnerGroup`."""

    async def step(self, batch: Batch) -> StepReport:
        """One optimiser step. Raises LearnerLost."""
        ...

    async def publish(self, version: int) -> WeightVersion:
        """Put the weights into the object store, where rollout workers fetch them. Raises LearnerLost."""
        ...

    async def lost(self) -> None:
        """Wait until it is lost, and raise LearnerLost."""
        ...


@dataclass(frozen=True, slots=True)
class LoopState:
    """The part of a checkpoint that is the loop's, besides the weights and the optimiser.

    `curriculum` holds its states before the last max_staleness + 1 steps, the newest last; `longest` is the longest
    sequence so far, prompt and completion, in tokens; `updates` counts the steps that changed the policy.
    """

    step: int = 0
    curriculum: tuple[State, ...] = ()
    tokens: int = 0
    flops: float = 0.0
    completions: int = 0
    longest: int = 0
    updates: int = 0

    @property
    def spent(self) -> Spent:
        """What the stage has spent."""
        return Spent(self.step, self.tokens, self.flops, paper_tokens(self.completions, self.longest))


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a checkpoint, and whether it comes from an evaluation or from the training rollouts."""

    value: float
    evaluated: bool


@dataclass(frozen=True, slots=True)
class LoopHooks:
    """What the loop calls for everything but drawing and learning; `trainers.rl.stage` implements it.

    `cost` returns the FLOPs of drawing a group, `save` writes a checkpoint of a state with its score and says whether
    it could, `evaluate` returns the score of the policy before a step, `emit` writes an event to metrics.jsonl, `keep`
    stores the rollouts of a step.
    """

    cost: Callable[[RolloutGroup], float]
    save: Callable[[LoopState, Score], Awaitable[bool]]
    evaluate: Callable[[int], Coroutine[Any, Any, float]]
    emit: Callable[..., None]
    keep: Callable[[StepRollouts], None]


class RlLoop:
    """One RL stage."""

    def __init__(
        self,
        config: RlConfig,
        seed: int,
        fleet: Sampler,
        learner: Learner,
        encode: Callable[[Item], tuple[int, ...]],
        stop_token_ids: tuple[int, ...],
        hooks: LoopHooks,
    ) -> None:
        self.config = config
        self.fleet = fleet
        self.learner = learner
        self.hooks = hooks
        self.stopping = False
        self._evaluating = Interruptible()
        self.curriculum = Curriculum(open_task(config.task), config.task.mixture(), seed, config.curriculum)
        self._drawing = partial(Drawing, config, seed, fleet, encode, stop_token_ids)
        self.drawing = self._drawing()
        self.restore(LoopState())

    def restore(
        self,
        state: LoopState,
        drawn: Mapping[int, Sequence[RolloutGroup]] | None = None,
        evaluated: bool = False,
    ) -> None:
        """Continue from a state and the steps drawn ahead of it; everything else in flight is dropped.

        `evaluated` says that the policy of this state was evaluated, so that it is not again.
        """
        self.state = state
        self._is_evaluated = evaluated
        self.history = state.curriculum or (self.curriculum.beginning(),)
        self.drawing = self._drawing()
        for step, groups in (drawn or {}).items():
            self.drawing.hold(step, groups)
        self._scores: list[float] = []
        self._skip_limit = SkipLimit()

    def stop(self) -> None:
        """Ask the loop to save after the step it is in and end; an evaluation ends at once."""
        self.stopping = True
        self._evaluating.interrupt()

    async def run(self) -> None:
        """Train until the budget is reached or `stop` is called; the state is saved in both cases.

        The fleet must hold version `state.step`. Raises Interrupted after `stop`, also after the last step: the stage
        may lack the evaluation of it.
        """
        try:
            measured = None
            if not self._is_evaluated:  # at the start, or where a stop cut an evaluation short
                await self._evaluated()
            while not self.config.budget.reached(self.state.spent) and not self.stopping:
                self._draw_ahead()
                drawn = await self.unless_lost(self.drawing.take(self.state.step))
                learned = await self._learn(drawn)
                sync_s = await self._sync()
                self._advance(drawn, learned)
                self._tell(drawn, learned, sync_s)
                self.hooks.keep(judged_step(self.state.step, self.config.prompts_per_step, drawn, learned))
                measured = await self._evaluated()
                if self.state.step % self.config.checkpoint_every == 0:
                    await self._save(measured)
            if self._scores:
                await self._save(measured)
        finally:
            self.abandon()
        if self.stopping:
            raise Interrupted(f"asked to stop after step {self.state.step}")

    async def unless_lost(self, work: Coroutine[Any, Any, T]) -> T:
        """The fleet's `work`. Raises LearnerLost as soon as the learner is lost.

        What it published goes with it: no worker that starts could get weights, and without one the work never ends.
        """
        return await unless(work, self.learner.lost())

    def abandon(self) -> None:
        """Cancel what is being drawn for later steps."""
        self.drawing.abandon()

    def _draw_ahead(self) -> None:
        """Start the groups of this step and, within the staleness bound, of the next ones."""
        last = self.state.step + self.config.max_staleness
        if self.config.steps is not None:  # the last step of another budget is unknown: extra groups are cancelled
            last = min(last, self.config.steps - 1)
        for step in range(self.state.step, last + 1):
            self.drawing.begin(step, partial(self._ask, self._known_for(step)))

    def _known_for(self, step: int) -> State:
        """The curriculum's state when the draws of a step could first begin."""
        since = self.state.step + self.config.max_staleness - step
        return self.history[-1 - min(since, len(self.history) - 1)]

    def _ask(self, known: State, slot: Slot) -> Item:
        return self.curriculum.item(known, slot.step, slot.place, slot.attempt)

    async def _learn(self, drawn: DrawnStep) -> Learned:
        """One optimiser step on the groups that have a gradient, if there are any. Raises NotFinite."""
        started = time.monotonic()
        if not drawn.trained:
            return Learned(None, None, 0.0)
        batch = pack(drawn.trained, self.config.learning, self.config.max_tokens)
        spent_share = self.config.budget.share(self.state.spent)
        report = await self.learner.step(replace(batch, spent_share=spent_share))
        self._skip_limit.see(report)
        return Learned(batch, report, time.monotonic() - started)

    async def _sync(self) -> float:
        started = time.monotonic()
        version = await self.learner.publish(self.state.step + 1)
        if self.config.order == "deterministic":
            await self.unless_lost(self.drawing.settled())  # so that no group is drawn by two versions
        for report in await self.unless_lost(self.fleet.sync(version)):
            self.hooks.emit("sync", **asdict(report))
        return time.monotonic() - started

    def _advance(self, drawn: DrawnStep, learned: Learned) -> None:
        passes = solved(drawn.judged)
        known = self.curriculum.after(self.history[-1], [g.item.stratum for g in drawn.judged], passes)
        self.history = (*self.history, known)[-1 - self.config.max_staleness :]
        self._scores.append(fmean(s for group in passes for s in group))
        report = learned.report
        self.state = LoopState(
            step=self.state.step + 1,
            curriculum=self.history,
            tokens=self.state.tokens + (report.tokens if report else 0),
            flops=self.state.flops + (report.flops if report else 0.0) + sum(map(self.hooks.cost, drawn.judged)),
            completions=self.state.completions + sum(len(g.rollouts) for g in drawn.judged),
            longest=max(self.state.longest, *lengths(drawn)),
            updates=self.state.updates + learned.updated,
        )

    async def _evaluated(self) -> float | None:
        """The score of the policy from an evaluation, if one is due and the loop is not asked to stop during it."""
        every = self.config.eval_every
        if not every or self.state.step % every:
            return None
        try:
            return await self.unless_lost(self._evaluating.run(self.hooks.evaluate(self.state.step)))
        except Interrupted:
            return None

    async def _save(self, measured: float | None) -> None:
        score = Score(fmean(self._scores), False) if measured is None else Score(measured, True)
        if await self.hooks.save(self.state, score):
            self._scores = []

    def _tell(self, drawn: DrawnStep, learned: Learned, sync_s: float) -> None:
        self.hooks.emit(
            "rl_step",
            step=self.state.step,
            steps=self.config.budget.steps(self.state.spent),
            updates=self.state.updates,
            **statistics(drawn),
            verifier_error=drawn.error,
            **(learned.report.numbers() if learned.report else {}),
            generate_s=drawn.seconds,
            learn_s=learned.seconds,
            sync_s=sync_s,
            step_s=drawn.seconds + learned.seconds + sync_s,
            groups=self.drawing.buffer.counts(),
            strata=by_stratum(self.curriculum, self.history[-1], drawn),
        )
