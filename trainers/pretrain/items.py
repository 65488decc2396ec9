"""The items of a training stage, and the texts that a tokenizer learns from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Final

from verifier.families import TaskConfig, open_task
from verifier.task import Item

TOKENIZER_CORPUS: Final = 20_000  # texts; the words of the task all occur many times in a tenth of that


def training_items(config: TaskConfig, seed: int, start: int = 0) -> Iterator[Item]:
    """The endless stream of a task's training items from index `start` on, their strata drawn by their shares."""
    task, mixture = open_task(config), config.mixture()
    return (task.item(mixture.at(seed, index), seed, index, "train") for index in count(start))


def corpus(config: TaskConfig, seed: int) -> Iterator[str]:
    """The training texts that a byte-pair tokenizer learns its merges from."""
    return (_plain_text(item) for item in islice(training_items(config, seed), TOKENIZER_CORPUS))


def _plain_text(item: Item) -> str:
    prompt = item.prompt if isinstance(item.prompt, str) else "\n".join(m.content for m in item.prompt)
    return f"{prompt}{item.gold or ''}"
