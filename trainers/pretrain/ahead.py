"""The batches of a stage on texts, made some steps ahead of the learner by processes that do nothing else.

A batch is made once, whichever ranks ask for it, and lies in Ray's object store, where the ranks of a machine read the
same bytes. It is a function of the stage's seed and the step alone, so who made it, and when, shows in no weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import ray

from trainers.config import TextTraining
from trainers.pretrain.rejection import Drawn
from trainers.records import Batch
from verifier.errors import Failure, UserError

BUFFERED: Final = 2  # batches beyond those that are being made; each may hold some 50 MB


class NotMade(Failure):
    """A batch that cannot be made, which another process would meet again; the message has the error."""

    fix = "Correct the task, most often its `item`, then resume the run."


class BatchMaker:
    """A Ray actor that makes the batches of a stage; `tokenizer` is a directory that holds the learner's.

    `makers` is the number of makers, which take turns.
    """

    def __init__(self, config: TextTraining, tokenizer: Path, seed: int, drawn: Drawn | None, makers: int) -> None:
        # Not above: who holds a maker names this class and never makes one.
        from actors.policy.text_format import text_format
        from actors.policy.tokenizer import load_tokenizer
        from trainers.pretrain.documents import DocumentStream

        self._data = DocumentStream(config, text_format(load_tokenizer(tokenizer)), seed, drawn)
        self._asked = Recent(lambda step: ray.put(self.made(step)), makers + BUFFERED)

    def batch(self, step: int) -> list[Any]:
        """A reference to the batch of a step, in a list, so that Ray does not look behind it."""
        return [self._asked(step)]

    def made(self, step: int) -> Batch:
        """The batch of a step. Raises NotMade."""
        try:
            return self._data.batch(step)
        except (UserError, Failure):
            raise
        except Exception as error:  # the task may be of the user's own code
            raise NotMade(f"the batch of step {step + 1} cannot be made: {type(error).__name__}: {error}") from error


class Recent:
    """What `make` makes of a step, made once for all ranks; none is further behind than `ahead` steps."""

    def __init__(self, make: Callable[[int], Any], ahead: int) -> None:
        self._make = make
        self._ahead = ahead
        self._made: dict[int, Any] = {}

    def __call__(self, step: int) -> Any:
        """That of `step`."""
        if step not in self._made:
            self._made = {n: made for n, made in self._made.items() if n >= step - self._ahead}
            self._made[step] = self._make(step)
        return self._made[step]


class Maker(Protocol):
    """The handle of a BatchMaker."""

    batch: Any


class Ahead:
    """What one rank has asked of the makers. All ranks ask for the same steps in the same order."""

    def __init__(self, makers: Sequence[Maker]) -> None:
        self._makers = makers
        self._batches: dict[int, Any] = {}

    def batch(self, step: int) -> Any:
        """The reply of the maker of `step`; those of the next steps are asked for."""
        for number in range(step, step + len(self._makers) + BUFFERED):
            if number not in self._batches:
                self._batches[number] = self._makers[number % len(self._makers)].batch.remote(number)
        for number in [n for n in self._batches if n < step]:
            del self._batches[number]
        return self._batches[step]
