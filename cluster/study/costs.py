"""Estimates the cost of a plan's stages from finished stages of the same kind.

Work is counted in texts: documents of training, completions of RL and of evaluation. The cost of a text is measured on
the runs of the plan that are done; for a kind of stage that was never run it is unknown. A budget in FLOPs or paper
tokens says by itself about how many steps, tokens and FLOPs it is (`cluster.run.work.plan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cluster.recipe.config import (
    EvalStage,
    PretrainStage,
    Recipe,
    RejectionStage,
    RlStage,
    SftStage,
    Stage,
    training_of,
)
from cluster.run.work.plan import StagePlan, plans
from cluster.study.folder import StudyFolder
from cluster.study.plan import Run
from trainers.budget import Budgeted
from trainers.evaluation.evaluate import held_out_counts
from trainers.evaluation.ledger import StageRecord


@dataclass(frozen=True, slots=True)
class Cost:
    """One stage of a plan: its texts, and the tokens, FLOPs and seconds that it costs; None where these are unknown."""

    run: Run
    stage: Stage
    texts: int
    done: bool
    tokens: float | None = None
    flops: float | None = None
    seconds: float | None = None


class Rate(NamedTuple):
    """The cost of one text."""

    tokens: float
    flops: float
    seconds: float


def costs(folder: StudyFolder, runs: Sequence[Run]) -> list[Cost]:
    """The costs of the runs' own stages, in the plan's order. Raises RecipeError for a budget of less than a step."""
    own = [(run, stage) for run in runs for stage in run.recipe.stages if stage.name in run.own]
    budgeted = budgets(runs)
    counts = {(run.name, s.name): texts(run.recipe, s, budgeted.get((_arm(run), s.name))) for run, s in own}
    records = {(run.name, record.name): record for run in runs for record in folder.standing(run).stages}
    rates: dict[str, Rate] = {}
    for kind in {stage.kind for _, stage in own}:
        done = [(counts[key], record) for key, record in records.items() if key in counts and record.kind == kind]
        rates |= _rate(kind, done)
    found: list[Cost] = []
    for run, stage in own:
        key = run.name, stage.name
        known = _known(
            records.get(key), stage, counts[key], budgeted.get((_arm(run), stage.name)), rates.get(stage.kind)
        )
        found.append(Cost(run, stage, counts[key], key in records, *known))
    return found


def budgets(runs: Sequence[Run]) -> dict[tuple[str, str], StagePlan]:
    """What the budgets of an arm's stages are, by arm and stage; that of one seed serves for the others.

    Raises RecipeError for a budget of less than a step.
    """
    found: dict[tuple[str, str], StagePlan] = {}
    seen: set[tuple[str, str]] = set()
    for run in runs:
        own = {(_arm(run), name) for name in run.own}
        if not own <= seen:
            found |= {(_arm(run), plan.stage): plan for plan in plans(run.recipe)}
            seen |= own
    return found


def _arm(run: Run) -> str:
    return run.members[0].arm


def texts(recipe: Recipe, stage: Stage, plan: StagePlan | None = None) -> int:
    """The texts that a stage reads or writes; 0 if it does neither. `plan` has about the steps of a budget."""
    match stage:
        case PretrainStage():
            return _steps(stage.train, plan) * stage.train.documents_per_step
        case SftStage():
            return _steps(stage.sft, plan) * stage.sft.documents_per_step
        case RejectionStage():
            return _steps(stage.rejection, plan) * stage.rejection.documents_per_step
        case RlStage():
            return _steps(stage.rl, plan) * stage.rl.prompts_per_step * stage.rl.group_size
        case EvalStage():
            return sum(held_out_counts(stage.eval, recipe.bands).values()) * stage.eval.samples
        case _:
            return 0


def _steps(config: Budgeted, plan: StagePlan | None) -> int:
    return config.steps or (plan.steps if plan else 0)


def _rate(kind: str, done: Sequence[tuple[int, StageRecord]]) -> dict[str, Rate]:
    """The cost of a text by kind of stage; only for kinds that were measured."""
    count = sum(texts for texts, _ in done)
    if not count:
        return {}
    return {kind: Rate(*(sum(getattr(record, name) for _, record in done) / count for name in Rate._fields))}


def _known(
    record: StageRecord | None, stage: Stage, count: int, plan: StagePlan | None, rate: Rate | None
) -> tuple[float | None, float | None, float | None]:
    """Tokens, FLOPs and seconds: as measured, as the budget says, or by the cost of a text."""
    if record is not None:
        return record.tokens, record.flops, record.seconds
    if training_of(stage) is None and not count:
        return 0, 0, 0
    tokens, flops, seconds = (count * each for each in rate) if rate else (None, None, None)
    return (plan.spent.tokens, plan.spent.flops, seconds) if plan else (tokens, flops, seconds)
