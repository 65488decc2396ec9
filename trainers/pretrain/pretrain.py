"""Next-token training on documents, in the same learner that RL uses: pre- and mid-training, sft, rejection.

Step t trains on the documents with indices [t * n, (t + 1) * n) of one stream (`trainers.pretrain.documents`), so data
need no state: a resumed run gets the same documents as an uninterrupted one. This module drives a learner; it starts no
process, and callbacks publish checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from trainers.budget import NOTHING, Budget, Spent
from trainers.config import TextTraining
from trainers.learner.skipped import SkipLimit
from trainers.records import Batch, StepReport


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The progress of a stage, as a bar, a log line and the ledger need it. Means are since the last report.

    `steps` is the number of steps in total; if the budget is not in steps, it is an estimate, at first 0.
    """

    step: int
    steps: int
    loss: float
    gradient_norm: float
    learning_rate: float
    tokens: int
    flops: float
    paper_tokens: float
    tokens_per_s: float
    eta_s: float
    skipped: int

    @property
    def spent(self) -> Spent:
        """What the stage has spent."""
        return Spent(self.step, self.tokens, self.flops, self.paper_tokens)


class Batches(Protocol):
    """What the loop needs of a stage's data."""

    def batch(self, step: int) -> Batch:
        """The batch of step `step` (from 0), the same whenever it is asked for."""
        ...


class Steps(Protocol):
    """The part of a learner that this loop needs."""

    steps: int

    def step(self, batch: Batch) -> StepReport:
        """One optimiser step."""
        ...


def pretrain(
    learner: Steps,
    data: Batches,
    config: TextTraining,
    report: Callable[[TrainingProgress], None],
    checkpoint: Callable[[TrainingProgress], None],
    stop: Callable[[], bool] = lambda: False,
    spent: Spent = NOTHING,
) -> TrainingProgress:
    """Train from the learner's step until the budget is reached or `stop` is true; then report, and save.

    `spent` is what the stage had spent before. Raises NotFinite.
    """
    window = _Window(config.budget, spent)
    progress = window.progress()
    skip_limit = SkipLimit()
    while not window.done and not stop():
        batch = replace(data.batch(learner.steps), spent_share=config.budget.share(window.spent))
        step = learner.step(batch)
        window.add(step)
        skip_limit.see(step)
        progress = window.progress()
        if learner.steps % config.report_every == 0:
            report(progress)
            window.begin()
        if learner.steps % config.checkpoint_every == 0 and not window.done:
            checkpoint(progress)
    if window.reports:
        report(progress)
    checkpoint(progress)
    return progress


class _Window:
    """Sums since the stage began and since the last report."""

    def __init__(self, budget: Budget, spent: Spent) -> None:
        self.budget = budget
        self.spent = spent
        self.skipped = 0
        self._first = (time.monotonic(), spent)
        self.begin()

    def begin(self) -> None:
        """Begin a new window: what was added so far is reported."""
        self.reports: list[StepReport] = []
        self._since = time.monotonic()

    @property
    def done(self) -> bool:
        return self.budget.reached(self.spent)

    def add(self, report: StepReport) -> None:
        self.reports.append(report)
        self.skipped += report.skipped
        self.spent = Spent(
            self.spent.steps + 1,
            self.spent.tokens + report.tokens,
            self.spent.flops + report.flops,
            self.spent.paper_tokens + report.tokens,
        )

    def progress(self) -> TrainingProgress:
        now = time.monotonic()
        reports, count = self.reports, max(1, len(self.reports))
        begun, first = self._first
        spent, steps = self.spent, self.budget.steps(self.spent, since=first)
        per_step = (now - begun) / max(1, spent.steps - first.steps)
        return TrainingProgress(
            step=spent.steps,
            steps=steps,
            loss=sum(r.loss for r in reports) / count,
            gradient_norm=sum(r.gradient_norm for r in reports) / count,
            learning_rate=reports[-1].learning_rate if reports else 0.0,
            tokens=spent.tokens,
            flops=spent.flops,
            paper_tokens=spent.paper_tokens,
            tokens_per_s=sum(r.tokens for r in reports) / max(1e-9, now - self._since),
            eta_s=per_step * (steps - spent.steps),
            skipped=self.skipped,
        )
