"""Checks the items of every stage as soon as the run has a tokenizer: before anything long is begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cluster.recipe.base import NoModel
from cluster.recipe.config import EvalStage, Recipe, RlStage, Stage
from cluster.run.folder import RunFolder
from trainers.evaluation.evaluate import RL_SEED, STAGE_SEED, EvalConfig, held_out
from verifier.families import TaskConfig


def check_items(recipe: Recipe, folder: RunFolder, stages: Sequence[Stage]) -> None:
    """Checks that every evaluation finds its items, and that prompts fit the model's context; the weights are not read.

    Raises TooFewItems, PromptTooLong, and NoModel for chat prompts where the model has no chat template.
    """
    from actors.policy.architecture import ModelRefused, context_of
    from actors.policy.text_format import read_text_format
    from trainers.prompt_length import require_prompts_fit

    newest = folder.store.latest()
    model = folder.store.path(newest.id) if newest else None
    context = context_of(model) if model else recipe.policy.max_positions
    try:
        text = read_text_format(model or folder.path / "tokenizer")
        for task in dict.fromkeys(_tasks(stages)):
            require_prompts_fit(task, text, context, recipe.seed)
    except ModelRefused as error:
        raise NoModel(str(error), "Take a model with a chat template, or ask in plain text.") from error
    for config, seed in dict.fromkeys(_evaluations(stages)):
        held_out(config, recipe.bands, seed)


def _tasks(stages: Sequence[Stage]) -> Iterator[TaskConfig]:
    parts = (getattr(stage, name) for stage in stages for name in type(stage).model_fields)
    yield from (part.task for part in parts if isinstance(getattr(part, "task", None), TaskConfig))


def _evaluations(stages: Sequence[Stage]) -> Iterator[tuple[EvalConfig, int]]:
    """What the stages evaluate, with the seed of its items."""
    for stage in stages:
        match stage:
            case EvalStage():
                yield stage.eval, STAGE_SEED
            case RlStage() if stage.rl.eval is not None:
                yield stage.rl.eval, RL_SEED
            case _:
                pass
