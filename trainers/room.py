"""Whether the prompts of a task fit a model's context: asked before a stage starts, not found out within it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.policy.text_format import TextFormat
from verifier.errors import UserError
from verifier.families import TaskConfig, open_task
from verifier.task import Listed, Prompt

TRIED: Final = 16
"""Training items of each stratum that are tried where a task makes its items; of one that lists them all are tried."""
_ADDED: Final = 16  # tokens that a tokenizer may put around a text, which has no more tokens than bytes else


class PromptTooLong(UserError):
    """A prompt leaves the model no room for an answer."""

    fix = "Shorten it, leave the item out, or take a model with a longer context (policy.max_positions)."


def require_room(config: TaskConfig, text: TextFormat, context: int, seed: int) -> None:
    """Raises PromptTooLong, with the item's id, if a prompt takes all `context` tokens; ModelRefused for messages that
    the model has no chat template for.
    """
    for item_id, prompt in _prompts(config, seed):
        if _surely_fits(prompt, context):
            continue
        tokens = len(text.prompt_ids(prompt))
        if tokens >= context:
            raise PromptTooLong(
                f"the prompt of item {item_id} has {tokens} tokens, and the model takes {context} with its answer"
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
