"""The batches of a stage on texts, made some steps ahead of the learner by processes that do nothing else.

A batch is made once, whoever asks for it, and lies in Ray's object store, where the ranks of a machine read the same
bytes. It is a function of the stage's seed and the step alone, so neither who made it nor when shows in the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from trainers.config import TextTraining
from trainers.pretrain.rejection import Drawn
from trainers.records import Batch

BUFFERED: Final = 2  # batches beyond those that are being made; each may hold some 50 MB


class BatchMaker:
    """A Ray actor that makes the batches of a stage; `tokenizer` is a directory that holds the learner's."""

    def __init__(self, config: TextTraining, tokenizer: Path, seed: int, drawn: Drawn | None) -> None:
        # Not above: the learner's host names this class and never makes one.
        from actors.policy.text_format import text_format
        from actors.policy.tokenizer import load_tokenizer
        from trainers.pretrain.documents import DocumentStream

        self._data = DocumentStream(config, text_format(load_tokenizer(tokenizer)), seed, drawn)

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        return self._data.batch(step)


class Maker(Protocol):
    """The handle of a BatchMaker."""

    batch: Any


class Ahead:
    """Which batches are being made, by which maker. All ranks ask for the same steps in the same order."""

    def __init__(self, makers: Sequence[Maker]) -> None:
        self._makers = makers
        self._batches: dict[int, Any] = {}

    def batch(self, step: int) -> Any:
        """A reference to the batch of `step`; those of the next steps are begun."""
        for number in range(step, step + len(self._makers) + BUFFERED):
            if number not in self._batches:
                self._batches[number] = self._makers[number % len(self._makers)].batch.remote(number)
        for number in [n for n in self._batches if n < step - 1]:  # a rank may still be a step behind
            del self._batches[number]
        return self._batches[step]
