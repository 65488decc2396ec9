"""What a learner is told to do, as its ranks hear it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from actors.policy.checkpoint import Lineage
from trainers.budget import NOTHING, Spent
from trainers.config import TextTraining
from trainers.pretrain.rejection import Drawn
from verifier.errors import Failure


class LearnerLost(Failure):
    """The learner's processes died, or never came up; the message names the first cause known."""


@dataclass(frozen=True, slots=True)
class PretrainJob:
    """A stage on texts as the ranks run it; it continues from its own last checkpoint if there is one.

    `drawn` is what a rejection stage trains on; what drawing it cost is the first of what the stage spends.
    """

    config: TextTraining
    lineage: Lineage
    checkpoints: Path
    data_seed: int
    drawn: Drawn | None = None

    @property
    def begun(self) -> Spent:
        """What was spent before the first step."""
        return self.drawn.spent if self.drawn else NOTHING


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step on a batch in the object store."""

    batch: ray.ObjectRef[Any]


@dataclass(frozen=True, slots=True)
class Publish:
    """Put the weights into the object store."""

    version: int


@dataclass(frozen=True, slots=True)
class Save:
    """Write a checkpoint's files."""

    directory: Path


@dataclass(frozen=True, slots=True)
class Load:
    """Continue from a checkpoint's files."""

    directory: Path


@dataclass(frozen=True, slots=True)
class Pretrain:
    """Run a stage on texts, of batches that the `makers` make (handles of `trainers.pretrain.ahead.BatchMaker`)."""

    job: PretrainJob
    makers: tuple[Any, ...]


Verb = Step | Publish | Save | Load | Pretrain
