"""Stages that train on texts, in a learner group of their own; and the tokenizer that the first of them needs."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from actors.policy.checkpoint import CheckpointError, Lineage, Manifest
from actors.telemetry import EventLog
from cluster.errors import StageFailed
from cluster.recipe.config import PretrainStage, Recipe, RejectionStage, TokenizerStage
from cluster.run.folder import RunFolder
from cluster.run.lock import note_stop
from cluster.run.work.following import drive, on_interrupt
from cluster.run.work.progress import Reporter
from cluster.run.work.workplace import Workplace
from trainers.budget import Spent
from trainers.config import SftConfig, TextTraining
from trainers.pretrain.pretrain import TrainingProgress
from trainers.pretrain.rejection import Drawn
from verifier.seeds import derive

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from trainers.learner_group.commands import PretrainJob
    from trainers.learner_group.rank import LearnerPlan


def make_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The tokenizer of the recipe's tokenizer stage, of the texts of its first pre-training stage."""
    from actors.policy.tokenizer import build_tokenizer
    from trainers.pretrain.items import corpus

    config = next(s.tokenizer for s in recipe.stages if isinstance(s, TokenizerStage))
    first = next(s for s in recipe.stages if isinstance(s, PretrainStage) and s.kind == "pretrain")
    return build_tokenizer(config, corpus(first.train.task, recipe.seed))


def document_seed(recipe: Recipe, stage: str) -> int:
    """The seed of a stage's documents; each stage has its own, so no stage sees the problems of another."""
    return derive(recipe.seed, "documents", stage)


def train_on_texts(
    stage: str,
    config: TextTraining,
    recipe: Recipe,
    workplace: Workplace,
    report: Reporter,
    drawn: Drawn | None = None,
) -> Spent:
    """Run a stage on texts to its end. Raises LearnerLost, and KeyboardInterrupt after an orderly stop."""
    from trainers.learner_group.commands import PretrainJob
    from trainers.learner_group.rank import LearnerPlan

    folder = workplace.folder
    parent = newest(folder, before=stage)
    weights = folder.store.path(parent.id) if parent else None
    if weights is not None and isinstance(config, SftConfig) and config.traces is not None:
        _require_fitting(config.traces, weights)
    plan = LearnerPlan(
        config=config.learner_config(),
        tokenizer=weights or folder.path / "tokenizer",
        weights=weights,
        policy=recipe.policy,
        seed=recipe.seed,
    )
    lineage = Lineage(run=folder.name, stage=stage, step=0, parent=parent.id if parent else None, seed=recipe.seed)
    job = PretrainJob(config, lineage, folder.store.root, document_seed(recipe, stage), drawn)
    end = asyncio.run(_train(job, plan, workplace, report))
    if not config.budget.reached(end.spent):
        raise KeyboardInterrupt
    return end.spent


def reject(stage: RejectionStage, recipe: Recipe, workplace: Workplace, report: Reporter) -> Spent:
    """Draw, unless that is done, and train on what is kept. Raises the errors of `drive` and `train_on_texts`."""
    folder = workplace.folder
    parent = newest(folder, before=stage.name)
    assert parent is not None, "the recipe was checked to have weights before a rejection stage"
    drawn = folder.drawn(stage.name)
    if drawn is None:
        model, seed = folder.store.path(parent.id), document_seed(recipe, stage.name)
        drawn = drive(workplace, report, lambda c: c.draw.remote(stage.name, model, parent.step, stage.rejection, seed))
        folder.save_drawn(stage.name, drawn)
    if stage.rejection.budget.reached(drawn.spent):
        raise StageFailed(f"drawing for {stage.name} alone reached its budget of {stage.rejection.budget}")
    return train_on_texts(stage.name, stage.rejection, recipe, workplace, report, drawn)


async def _train(job: PretrainJob, plan: LearnerPlan, workplace: Workplace, report: Reporter) -> TrainingProgress:
    from trainers.learner_group.handle import LearnerGroup

    group = LearnerGroup(plan, workplace.placement())
    try:
        note = partial(note_stop, workplace.folder.path)
        with EventLog(workplace.folder.metrics) as log, on_interrupt(group.interrupt, note):

            def tell(progress: TrainingProgress) -> None:
                log.write("pretrain_step", stage=job.lineage.stage, **asdict(progress))
                report.pretraining(progress)

            return await group.pretrain(job, tell)
    finally:
        await group.stop()


def _require_fitting(traces: Path, weights: Path) -> None:
    from actors.policy.architecture import context_of
    from actors.policy.text_format import read_text_format
    from trainers.pretrain.documents import require_fitting_traces

    require_fitting_traces(traces, read_text_format(weights), context_of(weights))


def newest(folder: RunFolder, before: str) -> Manifest | None:
    """The checkpoint that a stage starts from: the newest good one that is not the stage's own."""
    for manifest in reversed(folder.store.list()):
        if manifest.stage != before:
            try:
                return folder.store.get(manifest.id)
            except CheckpointError:
                continue
    return None
