"""Checks that the prompts of every stage fit the run's model, as soon as it has a tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cluster.recipe.base import NoModel
from cluster.recipe.config import Recipe, Stage
from cluster.run.folder import RunFolder
from verifier.families import TaskConfig


def check_prompts(recipe: Recipe, folder: RunFolder, stages: Sequence[Stage]) -> None:
    """Raises PromptTooLong, or NoModel for chat prompts without a chat template. Loads the tokenizer, no weights."""
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


def _tasks(stages: Sequence[Stage]) -> Iterator[TaskConfig]:
    parts = (getattr(stage, name) for stage in stages for name in type(stage).model_fields)
    yield from (part.task for part in parts if isinstance(getattr(part, "task", None), TaskConfig))
