"""What a rank answers when what it was told to do fails, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.policy.architecture import ModelRefused
from actors.policy.checkpoint import CheckpointError, CheckpointWriteError
from trainers.learner.optimizer_state import ResumeError
from trainers.learner.skipped import NotFinite
from trainers.learner_group.commands import Save
from trainers.learner_group.rank import Broken, LearnerRank


class Failing:
    """A learner whose every save fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def save(self, directory: Path) -> None:
        raise self.error


async def saving(error: Exception) -> Any:
    rank = LearnerRank()
    rank._learner = Failing(error)
    return await rank.obey(Save(Path("here")))


@pytest.mark.parametrize("kind", [ResumeError, NotFinite, ModelRefused, CheckpointError, CheckpointWriteError, OSError])
async def test_an_error_that_a_new_life_would_meet_again_is_the_answer(kind: type[Exception]) -> None:
    error = kind("the disk is full")
    assert await saving(error) is error


async def test_any_other_error_breaks_the_rank() -> None:
    assert await saving(RuntimeError("out of memory")) == Broken("RuntimeError: out of memory")
