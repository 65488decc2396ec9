"""The documents of a training stage, by index: gold texts of a task, traces of a file, or completions of the policy.

A stream of documents is endless and a pure function of the stage's settings and seed, so data need no state. A finite
set is repeated, each time in another order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

from actors.policy.text_format import TextFormat
from trainers.config import PretrainConfig, RejectionConfig, SftConfig, TextTraining
from trainers.learner.packing import Document, pack_documents
from trainers.pretrain.items import training_items
from trainers.pretrain.rejection import Drawn
from trainers.records import Batch
from trainers.traces import read_traces
from verifier.errors import BadTask
from verifier.families import TaskConfig
from verifier.seeds import derive
from verifier.task import Item, Prompt

Documents = Callable[[int, int], list[Document]]
"""So many documents of a stage's endless stream, from an index on."""


class DocumentStream:
    """The batches of a stage, by step number. `drawn` is what a rejection stage trains on."""

    def __init__(self, config: TextTraining, text: TextFormat, seed: int, drawn: Drawn | None = None) -> None:
        self._config = config
        self._documents = documents_of(config, text, seed, drawn)

    def batch(self, step: int) -> Batch:
        """The batch of step `step` (from 0): a pure function of the stage's config, the seed and the step."""
        size = self._config.documents_per_step
        return pack_documents(self._documents(step * size, size), self._config.microbatch_tokens)


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
    for line, trace in read_traces(file):
        yield line, _documents([(trace.asked, trace.completion)], text, "solution")[0]


def require_fitting_traces(file: Path, text: TextFormat, max_positions: int) -> None:
    """Raises BadTask for a trace that is longer than the model, by its line."""
    for line, document in trace_documents(file, text):
        if (size := len(document.token_ids)) > max_positions:
            raise BadTask(
                f"{file}, line {line}: {size} tokens, and the model takes {max_positions}; shorten it or leave it out"
            )


def gold_documents(items: Iterable[Item], text: TextFormat, loss_on: Literal["all", "solution"]) -> list[Document]:
    """The documents of items: each its prompt and gold text, and the model's end token."""
    pairs = []
    for item in items:
        assert item.gold is not None, "the stage was checked to have gold texts"
        pairs.append((item.prompt, item.gold))
    return _documents(pairs, text, loss_on)


def _documents(
    pairs: Sequence[tuple[Prompt, str]], text: TextFormat, loss_on: Literal["all", "solution"]
) -> list[Document]:
    befores = text.all_prompt_ids([prompt for prompt, _ in pairs])
    afters = text.all_completion_ids([completion for _, completion in pairs])
    return [
        Document((*before, *after), len(before) if loss_on == "solution" else 1)
        for before, after in zip(befores, afters, strict=True)
    ]


def _gold(task: TaskConfig, text: TextFormat, seed: int, loss_on: Literal["all", "solution"]) -> Documents:
    return lambda start, size: gold_documents(islice(training_items(task, seed, start), size), text, loss_on)


def _shuffled(documents: Sequence[Document], seed: int) -> Documents:
    @lru_cache(maxsize=2)
    def order(epoch: int) -> list[int]:
        draw = random.Random(derive(seed, "epoch", epoch))  # noqa: S311  # no secret
        return draw.sample(range(len(documents)), len(documents))

    def at(index: int) -> Document:
        epoch, place = divmod(index, len(documents))
        return documents[order(epoch)[place]]

    return lambda start, size: [at(index) for index in range(start, start + size)]
