"""The documents of a training stage, by index: gold texts of a task, traces of a file, or completions of the policy.

A stream of documents is endless and a pure function of the stage's settings and seed, so data need no state. A finite
set is repeated, each time in another order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Literal

from actors.policy.text_format import TextFormat
from trainers.config import PretrainConfig, RejectionConfig, SftConfig, TextTraining
from trainers.learner.packing import Document, pack_documents
from trainers.pretrain.drawn import Drawn
from trainers.pretrain.items import training_items
from trainers.records import Batch
from trainers.traces import read_traces
from verifier.errors import BadTask
from verifier.families import TaskConfig
from verifier.seeds import derive
from verifier.task import Item, Prompt

Documents = Callable[[int], Iterator[Document]]
"""The endless stream of a stage's documents from an index on."""


class DocumentStream:
    """The batches of a stage, by step number. `drawn` is what a rejection stage trains on."""

    def __init__(self, config: TextTraining, text: TextFormat, seed: int, drawn: Drawn | None = None) -> None:
        self._config = config
        self._documents = documents_of(config, text, seed, drawn)

    def batch(self, step: int) -> Batch:
        """The batch of step `step` (from 0): a pure function of the stage's config, the seed and the step."""
        size = self._config.documents_per_step
        return pack_documents(list(islice(self._documents(step * size), size)), self._config.microbatch_tokens)


def documents_of(config: TextTraining, text: TextFormat, seed: int, drawn: Drawn | None) -> Documents:
    """The documents that a stage trains on."""
    match config:
        case PretrainConfig(task=task, loss_on=loss_on):
            return _gold(task, text, seed, loss_on)
        case SftConfig(task=TaskConfig() as task):
            return _gold(task, text, seed, "solution")
        case SftConfig(traces=Path() as file):
            return _shuffled([document for _, document in trace_documents(file, text)], seed)
        case RejectionConfig():
            assert drawn is not None, "a rejection stage trains on what was drawn for it"
            return _shuffled(drawn.documents, seed)
    raise AssertionError(f"no documents for {config}")


def trace_documents(file: Path, text: TextFormat) -> Iterator[tuple[int, Document]]:
    """The documents of a file of traces, each with its line's number."""
    return ((line, _document(trace.asked, trace.completion, text, "solution")) for line, trace in read_traces(file))


def require_fitting_traces(file: Path, text: TextFormat, max_positions: int) -> None:
    """Raises BadTask for a trace that is longer than the model, by its line."""
    for line, document in trace_documents(file, text):
        if (size := len(document.token_ids)) > max_positions:
            raise BadTask(
                f"{file}, line {line}: {size} tokens, and the model takes {max_positions}; shorten it or leave it out"
            )


def document_of(item: Item, text: TextFormat, loss_on: Literal["all", "solution"]) -> Document:
    """The document of an item: its prompt and gold text, and the model's end token."""
    assert item.gold is not None, "the stage was checked to have gold texts"
    return _document(item.prompt, item.gold, text, loss_on)


def _document(prompt: Prompt, completion: str, text: TextFormat, loss_on: Literal["all", "solution"]) -> Document:
    before = text.prompt_ids(prompt)
    return Document((*before, *text.completion_ids(completion)), len(before) if loss_on == "solution" else 1)


def _gold(task: TaskConfig, text: TextFormat, seed: int, loss_on: Literal["all", "solution"]) -> Documents:
    return lambda start: (document_of(item, text, loss_on) for item in training_items(task, seed, start))


def _shuffled(documents: Sequence[Document], seed: int) -> Documents:
    @lru_cache(maxsize=2)
    def order(epoch: int) -> list[int]:
        draw = random.Random(derive(seed, "epoch", epoch))  # noqa: S311  # no secret
        return draw.sample(range(len(documents)), len(documents))

    def at(index: int) -> Document:
        epoch, place = divmod(index, len(documents))
        return documents[order(epoch)[place]]

    return lambda start: map(at, count(start))
