"""Pre- and mid-training: next-token training on gold texts, in the same learner that RL uses.

Step t trains on the documents of indices [t * n, (t + 1) * n) of one stream of items, so data need no state: a
resumed run sees what the straight one saw. This module makes batches and drives a learner; it starts no process and
publishes nothing (callbacks do).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal, Protocol

from actors.policy.text_format import TextFormat
from trainers.config import PretrainConfig
from trainers.learner.packing import Document, pack_documents
from trainers.learner.skipped import SkipLimit
from trainers.records import Batch, StepReport
from verifier.families import TaskConfig, open_task
from verifier.task import Item


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where a stage stands: what a bar, a log line and the ledger need. Means are since the last report."""

    step: int
    steps: int
    loss: float
    gradient_norm: float
    learning_rate: float
    tokens: int
    flops: float
    tokens_per_s: float
    eta_s: float
    skipped: int


class Steps(Protocol):
    """What the loop needs of a learner."""

    steps: int

    def step(self, batch: Batch) -> StepReport:
        """One optimiser step."""
        ...


TOKENIZER_CORPUS = 20_000  # texts; the words of the task all occur many times in a tenth of that


def document_of(item: Item, text: TextFormat, loss_on: Literal["all", "solution"]) -> Document:
    """An item with its gold text as the model is to continue it, ended by the model's end token."""
    assert item.gold is not None, "the stage was checked to have gold texts"
    prompt = text.prompt_ids(item.prompt)
    completion = text.completion_ids(item.gold)
    return Document((*prompt, *completion), len(prompt) if loss_on == "solution" else 1)


def training_items(config: TaskConfig, seed: int, start: int = 0) -> Iterator[Item]:
    """The endless stream of a task's training items, each of a stratum drawn by its share, from index `start` on."""
    task, mixture = open_task(config), config.mixture()
    return (task.item(mixture.at(seed, index), seed, index, "train") for index in count(start))


def corpus(config: TaskConfig, seed: int) -> Iterator[str]:
    """The training texts that a byte-pair tokenizer learns its merges from."""
    return (_plain_text(item) for item in islice(training_items(config, seed), TOKENIZER_CORPUS))


def _plain_text(item: Item) -> str:
    prompt = item.prompt if isinstance(item.prompt, str) else "\n".join(m.content for m in item.prompt)
    return f"{prompt}{item.gold or ''}"


class DocumentStream:
    """The batches of a stage, by step number."""

    def __init__(self, config: PretrainConfig, text: TextFormat, seed: int) -> None:
        self._config = config
        self._text = text
        self._seed = seed

    def batch(self, step: int) -> Batch:
        """The batch of step `step` (from 0): a pure function of the stage's config, the seed and the step."""
        size = self._config.documents_per_step
        items = islice(training_items(self._config.task, self._seed, step * size), size)
        documents = [document_of(item, self._text, self._config.loss_on) for item in items]
        return pack_documents(documents, self._config.microbatch_tokens)


def pretrain(
    learner: Steps,
    data: DocumentStream,
    config: PretrainConfig,
    report: Callable[[TrainingProgress], None],
    checkpoint: Callable[[TrainingProgress], None],
    stop: Callable[[], bool] = lambda: False,
    spent: tuple[int, float] = (0, 0.0),
) -> TrainingProgress:
    """Train from the learner's step to the last one, or until `stop`; a checkpoint is asked for at the end too.

    `spent` is the tokens and FLOPs of the steps before. Raises NotFinite.
    """
    window = _Window(config, learner.steps, *spent)
    skip_limit = SkipLimit()
    progress = window.progress(learner.steps)
    while learner.steps < config.steps and not stop():
        step = learner.step(data.batch(learner.steps))
        window.add(step)
        skip_limit.see(step)
        last = learner.steps == config.steps
        if learner.steps % config.report_every == 0 or last:
            progress = window.progress(learner.steps)
            report(progress)
        if learner.steps % config.checkpoint_every == 0 and not last:
            checkpoint(window.progress(learner.steps))
    progress = window.progress(learner.steps)
    checkpoint(progress)
    return progress


class _Window:
    """Sums since the stage began and since the last report."""

    def __init__(self, config: PretrainConfig, step: int, tokens: int, flops: float) -> None:
        self.config = config
        self.tokens, self.flops = tokens, flops
        self.skipped = 0
        self._begin = (time.monotonic(), step)
        self._reports: list[StepReport] = []
        self._since = time.monotonic()

    def add(self, report: StepReport) -> None:
        self._reports.append(report)
        self.tokens += report.tokens
        self.flops += report.flops
        self.skipped += report.skipped

    def progress(self, step: int) -> TrainingProgress:
        now = time.monotonic()
        reports, count = self._reports, max(1, len(self._reports))
        begun, first = self._begin
        per_step = (now - begun) / max(1, step - first)
        made = TrainingProgress(
            step=step,
            steps=self.config.steps,
            loss=sum(r.loss for r in reports) / count,
            gradient_norm=sum(r.gradient_norm for r in reports) / count,
            learning_rate=reports[-1].learning_rate if reports else 0.0,
            tokens=self.tokens,
            flops=self.flops,
            tokens_per_s=sum(r.tokens for r in reports) / max(1e-9, now - self._since),
            eta_s=per_step * (self.config.steps - step),
            skipped=self.skipped,
        )
        self._reports, self._since = [], now
        return made
