"""Checks that the prompts of a task fit a model's context, before a stage starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.policy.text_format import TextFormat
from verifier.errors import UserError
from verifier.families import TaskConfig, open_task
from verifier.task import Listed, Prompt

TRIED: Final = 16
"""Training items of each stratum that are checked if a task generates its items; of a listed task, all are checked."""
_ADDED: Final = 16  # tokens that a tokenizer may put around a text; otherwise it makes no more tokens than bytes


class PromptTooLong(UserError):
    """A prompt leaves no room for an answer in the model's context."""

    fix = "Shorten it, leave the item out, or use a model with a longer context (policy.max_positions)."


def require_prompts_fit(config: TaskConfig, text: TextFormat, context: int, seed: int) -> None:
    """Raises PromptTooLong, with the item's id, if a prompt fills all `context` tokens, and ModelRefused for messages
    where the model has no chat template.
    """
    for item_id, prompt in _prompts(config, seed):
        if _surely_fits(prompt, context):
            continue
        tokens = len(text.prompt_ids(prompt))
        if tokens >= context:
            raise PromptTooLong(
                f"the prompt of item {item_id} has {tokens} tokens, and the model takes {context}, answer included"
            )


def _prompts(config: TaskConfig, seed: int) -> Iterator[tuple[str, Prompt]]:
    task = open_task(config)
    if isinstance(task, Listed):
        yield from task.prompts()
        return
    for stratum in task.strata():
        for index in range(TRIED):
            item = task.item(stratum, seed, index, "train")
            yield item.id, item.prompt


def _surely_fits(prompt: Prompt, context: int) -> bool:
    return isinstance(prompt, str) and len(prompt.encode()) + _ADDED < context
