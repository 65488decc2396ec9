"""What a run will spend, estimated before it starts: the number of steps of every stage whose budget is not in steps.

The estimate decides only whether a budget is too small; the stage itself counts what it spends. It is made from the
first step's own problems, packed as the stage will pack them. Completions are assumed to be as long as the gold text,
or as long as allowed where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final

from actors.records import Completion, Rollout, RolloutGroup
from cluster.recipe.base import directory
from cluster.recipe.config import (
    BaseStage,
    Recipe,
    Stage,
    training_of,
)
from cluster.recipe.overrides import RecipeError
from cluster.run.work.training import document_seed, make_tokenizer
from trainers.budget import NOTHING, Budget, Budgeted, Spent
from trainers.config import RejectionConfig, RlConfig, TextTraining
from trainers.pretrain.rejection import Drawn
from verifier.families import open_task
from verifier.task import Item

_LOOKED_AT: Final = 64  # problems of a rejection stage that the estimate looks at: it takes their mean


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage with its budget, the estimated cost of one step, and the cost of drawing before the first step."""

    stage: str
    budget: Budget
    step: Spent
    drawing: Spent = NOTHING

    @property
    def least(self) -> float:
        """What the stage spends with its first step."""
        return self._of(self.drawing) + self._of(self.step)

    @property
    def steps(self) -> int:
        """About how many steps the budget allows."""
        return round((self.budget.amount - self._of(self.drawing)) / self._of(self.step))

    @property
    def spent(self) -> Spent:
        """About what the stage spends with so many steps."""
        step, drawn = self.step, self.drawing
        return Spent(
            self.steps,
            drawn.tokens + self.steps * step.tokens,
            drawn.flops + self.steps * step.flops,
            drawn.paper_tokens + self.steps * step.paper_tokens,
        )

    def _of(self, spent: Spent) -> float:
        return getattr(spent, self.budget.unit)

    def __str__(self) -> str:
        each, before = self._of(self.step), self._of(self.drawing)
        after = f" after {before:.3g} of drawing" if before else ""
        return f"{self.budget}: about {self.steps:,} steps of {each:.3g}{after}"


def plans(recipe: Recipe) -> Iterator[StagePlan]:
    """The plan of every stage whose budget is not in steps. Raises RecipeError for a budget of less than a step."""
    for stage in recipe.stages:
        found = training_of(stage)
        if found is None or found[1].budget.unit == "steps":
            continue
        section, config = found
        plan = _plan(stage, config, recipe)
        if plan.budget.amount <= plan.least:
            raise RecipeError(
                f"stages.{stage.name}.{section}.{plan.budget.unit}: {plan.budget.amount:.4g} is no more than one "
                f"step{' and the drawing' if plan.drawing != NOTHING else ''}, about {plan.least:.3g}",
                "raise it, or make the step smaller",
            )
        yield plan


def _plan(stage: Stage, config: Budgeted, recipe: Recipe) -> StagePlan:
    model = _Model(recipe, stage)
    if isinstance(config, RlConfig):
        return StagePlan(stage.name, config.budget, model.step_on_groups(config, recipe.seed))
    assert isinstance(config, TextTraining), f"{stage.kind} trains on groups or on texts"
    seed = document_seed(recipe, stage.name)
    if isinstance(config, RejectionConfig):
        drawn = model.drawn(config, seed)
        return StagePlan(stage.name, config.budget, model.step_on_documents(config, seed, drawn), drawn.spent)
    return StagePlan(stage.name, config.budget, model.step_on_documents(config, seed))


class _Model:
    """The shapes and the text format of what a stage trains, before there are weights."""

    def __init__(self, recipe: Recipe, stage: Stage) -> None:
        from actors.policy.architecture import config_of
        from actors.policy.model import architecture, forward_flops
        from actors.policy.text_format import read_text_format, text_format

        before = list(takewhile(lambda other: other.name != stage.name, recipe.stages))
        bases = [s for s in before if isinstance(s, BaseStage)]
        if bases:
            model = directory(bases[-1].base)
            self.text, self.config = read_text_format(model), config_of(model)
        else:
            self.text = text_format(make_tokenizer(recipe))
            self.config = architecture(recipe.policy, len(self.text.tokenizer))
        self.forward = forward_flops(self.config)

    def step_on_documents(self, config: TextTraining, seed: int, drawn: Drawn | None = None) -> Spent:
        """The first step of a stage on texts."""
        from trainers.evaluation.ledger import LearningCost
        from trainers.pretrain.documents import DocumentStream

        batch = DocumentStream(config, self.text, seed, drawn).batch(0)
        return Spent(1, batch.tokens, LearningCost.of(self.config, False).flops(batch), batch.tokens)

    def step_on_groups(self, config: RlConfig, seed: int) -> Spent:
        """The first step of RL, if every group had a gradient."""
        from trainers.evaluation.ledger import LearningCost, paper_tokens, sampling_flops
        from trainers.learner.packing import pack
        from trainers.rl.curriculum import Curriculum

        curriculum = Curriculum(open_task(config.task), config.task.mixture(), seed, config.curriculum)
        items = [curriculum.item(curriculum.beginning(), 0, place, 0) for place in range(config.prompts_per_step)]
        groups = [self._group(number, item, config) for number, item in enumerate(items)]
        batch = pack(groups, config.learning, config.max_tokens)
        drawing = sum(sampling_flops(group, self.forward) for group in groups)
        longest = max(map(_longest, groups))
        learning = LearningCost.of(self.config, config.learning.kl > 0).flops(batch)
        return Spent(1, batch.tokens, learning + drawing, paper_tokens(len(groups) * config.group_size, longest))

    def drawn(self, config: RejectionConfig, seed: int) -> Drawn:
        """What a rejection stage would draw and keep, if every completion were verified and no two were equal."""
        from trainers.evaluation.ledger import drawing_paper_tokens, sampling_flops
        from trainers.learner.packing import Document
        from trainers.pretrain.items import training_items

        items = list(islice(training_items(config.task, seed), min(config.prompts, _LOOKED_AT)))
        groups = [self._group(number, item, config) for number, item in enumerate(items)]
        flops = sum(sampling_flops(group, self.forward) for group in groups) * config.prompts / len(groups)
        asked, longest = config.prompts * config.group_size, max(map(_longest, groups))
        written = [(g, r.completion.token_ids) for g in groups for r in g.rollouts]
        documents = tuple(Document((*group.prompt_ids, *ids), len(group.prompt_ids)) for group, ids in written)
        return Drawn(documents, asked, Spent(flops=flops, paper_tokens=drawing_paper_tokens(asked, longest)))

    def _group(self, number: int, item: Item, config: RlConfig | RejectionConfig) -> RolloutGroup:
        written = config.max_tokens
        if item.gold is not None:
            written = min(written, len(self.text.all_completion_ids([item.gold])[0]))
        rollouts = tuple(_rollout(index, written) for index in range(config.group_size))
        return RolloutGroup(number, item, self.text.prompt_ids(item.prompt), rollouts)


def _longest(group: RolloutGroup) -> int:
    return max(len(group.prompt_ids) + len(rollout.completion.token_ids) for rollout in group.rollouts)


def _rollout(index: int, written: int) -> Rollout:
    completion = Completion(index, (0,) * written, (0.0,) * written, "stop", 0, 0)
    return Rollout(completion, "", None, reward=float(index % 2))
