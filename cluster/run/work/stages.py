"""Runs the stages of a recipe, in order, once each: the top of the system, where all parts meet.

A stage that is done is recorded in the run folder and never repeated; a resumed run starts at the first that is not.
Stages on texts run in a learner group of their own; evaluation and RL run in the run's controller actor, which is
started for the first of them and lives until the last ends.
"""

from __future__ import annotations

import time
from contextlib import closing

from actors.diagnosis.findings import diagnose
from actors.policy.checkpoint import Lineage
from actors.telemetry import read_events
from cluster.recipe.base import adopt
from cluster.recipe.config import (
    BaseStage,
    EvalStage,
    PretrainStage,
    Recipe,
    RejectionStage,
    RlStage,
    SftStage,
    Stage,
    TokenizerStage,
)
from cluster.run.folder import RunFolder
from cluster.run.live import LiveFile
from cluster.run.lock import stop_was_asked
from cluster.run.results.report import write_report
from cluster.run.work.following import drive, naming_failures
from cluster.run.work.items import check_items
from cluster.run.work.progress import Reporter
from cluster.run.work.trackers import Dashboards
from cluster.run.work.training import make_tokenizer, newest, reject, train_on_texts
from cluster.run.work.workplace import NEEDS_RAY, Workplace, workplace
from trainers.budget import NOTHING, Spent
from trainers.evaluation.evaluate import Evaluation
from trainers.evaluation.ledger import StageRecord
from trainers.rl.loop import LoopState
from verifier.seeds import derive


def run_stages(recipe: Recipe, folder: RunFolder, address: str | None, insecure: bool, wait_s: float) -> None:
    """Run every stage that is not done. Returns only when all are done; otherwise raises what stopped the run.

    `address`, `insecure` and `wait_s` are those of `cluster.ray.runtime.running`.
    """
    done = {record.name for record in folder.stages()}
    left = [stage for stage in recipe.stages if stage.name not in done]
    dashboards = Dashboards(folder.name, folder.path, recipe.trackers)
    live = LiveFile(folder.path)
    report = Reporter(folder.name, dashboards.catch_up, live.tell)
    report.skipped(done)
    with closing(dashboards), live.kept(), workplace(recipe, folder, address, insecure, wait_s, left) as place:
        checked = False
        for number, stage in enumerate(left):
            began = time.monotonic()
            report.begin(stage.name)
            try:
                with naming_failures():
                    if stop_was_asked(folder.path):  # when the stage before had nothing left to interrupt
                        raise KeyboardInterrupt
                    if stage.kind in NEEDS_RAY and not checked:
                        check_items(recipe, folder, left[number:])
                        checked = True
                    spent = _run_stage(stage, recipe, folder, place, report)
            except BaseException:
                report.stopped("stopped; the same command with --resume continues")
                raise
            record = StageRecord.of(stage.name, stage.kind, time.monotonic() - began, spent)
            folder.finish(record)
            report.end(record)
    report.finished(folder.path)


def _run_stage(stage: Stage, recipe: Recipe, folder: RunFolder, workplace: Workplace, report: Reporter) -> Spent:
    match stage:
        case TokenizerStage():
            make_tokenizer(recipe).save_pretrained(folder.path / "tokenizer")
            return NOTHING
        case BaseStage():
            origin = Lineage(run=folder.name, stage=stage.name, step=0, parent=None, seed=recipe.seed)
            adopt(stage.base, folder.store, origin)
            return NOTHING
        case PretrainStage():
            return train_on_texts(stage.name, stage.train, recipe, workplace, report)
        case SftStage():
            return train_on_texts(stage.name, stage.sft, recipe, workplace, report)
        case RejectionStage():
            return reject(stage, recipe, workplace, report)
        case RlStage():
            return _reinforce(stage, recipe, folder, workplace, report)
        case EvalStage():
            return _evaluate(stage, folder, workplace, report)
        case _:
            write_report(folder, recipe)
            return NOTHING


def rl_seed(recipe: Recipe, stage: str) -> int:
    """The seed of an RL stage's problems and draws: the run's for the first one, and one of its own for each later one.

    So no stage asks the problems of another.
    """
    first = next(s.name for s in recipe.stages if isinstance(s, RlStage))
    return recipe.seed if stage == first else derive(recipe.seed, "rl", stage)


def _reinforce(stage: RlStage, recipe: Recipe, folder: RunFolder, workplace: Workplace, report: Reporter) -> Spent:
    parent = newest(folder, before=stage.name)
    assert parent is not None, "the recipe was checked to have a base before RL"
    seed = rl_seed(recipe, stage.name)
    state: LoopState = drive(workplace, report, lambda c: c.train.remote(stage.name, stage.rl, parent.id, seed))
    for finding in diagnose(read_events(folder.metrics)):
        if finding.stage == stage.name:
            report.found(finding.line)
    return state.spent


def _evaluate(stage: EvalStage, folder: RunFolder, workplace: Workplace, report: Reporter) -> Spent:
    last = newest(folder, before=stage.name)
    assert last is not None, "the recipe was checked to have weights before an evaluation"
    model = folder.store.path(last.id)
    evaluation: Evaluation = drive(
        workplace, report, lambda c: c.evaluate.remote(stage.name, model, last.step, stage.eval)
    )
    folder.save_evaluation(stage.name, evaluation)
    return Spent(tokens=evaluation.tokens, flops=evaluation.flops)
