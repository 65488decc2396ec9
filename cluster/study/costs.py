"""Estimates the cost of a plan's stages from finished stages of the same kind.

Work is counted in texts: documents of pre-training, completions of RL and of evaluation. The cost of a text is measured
on the runs of the plan that are done; for a kind of stage that was never run it is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.recipe.config import EvalStage, PretrainStage, Recipe, RlStage, SftStage, Stage, training_of
from cluster.study.folder import StudyFolder
from cluster.study.plan import Run
from trainers.evaluation.evaluate import held_out_counts
from trainers.evaluation.ledger import StageRecord


@dataclass(frozen=True, slots=True)
class Cost:
    """One stage of a plan: its texts, and the tokens, FLOPs and seconds that it costs; None where these are unknown."""

    run: Run
    stage: Stage
    texts: int
    done: bool
    spent: tuple[float, float, float] | None


def costs(folder: StudyFolder, runs: Sequence[Run]) -> list[Cost]:
    """The costs of the runs' own stages, in the plan's order."""
    own = [(run, stage) for run in runs for stage in run.recipe.stages if stage.name in run.own]
    records = {(run.name, record.name): record for run in runs for record in folder.standing(run).stages}
    rates: dict[str, tuple[float, float, float]] = {}
    for kind in {stage.kind for _, stage in own}:
        done = [(texts(run.recipe, s), records[run.name, s.name]) for run, s in own if (run.name, s.name) in records]
        rates |= _rate(kind, [(count, record) for count, record in done if record.kind == kind])
    return [_cost(run, stage, records.get((run.name, stage.name)), rates.get(stage.kind)) for run, stage in own]


def texts(recipe: Recipe, stage: Stage) -> int:
    """The texts that a stage reads or writes; 0 if it does neither, or if their number is not known before."""
    match stage:
        case PretrainStage():
            return (stage.train.steps or 0) * stage.train.documents_per_step
        case SftStage():
            return (stage.sft.steps or 0) * stage.sft.documents_per_step
        case RlStage():
            return (stage.rl.steps or 0) * stage.rl.prompts_per_step * stage.rl.group_size
        case EvalStage():
            return sum(held_out_counts(stage.eval, recipe.bands).values()) * stage.eval.samples
        case _:
            return 0


def _rate(kind: str, done: Sequence[tuple[int, StageRecord]]) -> dict[str, tuple[float, float, float]]:
    """The cost of a text in tokens, FLOPs and seconds, by kind of stage; only for kinds that were measured."""
    count = sum(texts for texts, _ in done)
    if not count:
        return {}
    totals = [sum(getattr(record, name) for _, record in done) for name in ("tokens", "flops", "seconds")]
    return {kind: (totals[0] / count, totals[1] / count, totals[2] / count)}


def _cost(run: Run, stage: Stage, record: StageRecord | None, rate: tuple[float, float, float] | None) -> Cost:
    count = texts(run.recipe, stage)
    if record is not None:
        return Cost(run, stage, count, True, (record.tokens, record.flops, record.seconds))
    if not count:
        return Cost(run, stage, 0, False, None if training_of(stage) else (0.0, 0.0, 0.0))
    return Cost(run, stage, count, False, (count * rate[0], count * rate[1], count * rate[2]) if rate else None)
