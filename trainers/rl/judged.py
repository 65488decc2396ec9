"""A step as it is stored: every judged group in its slot, with what the learner knew of the tokens it trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from actors.records import RolloutGroup
from actors.rollouts.table import JudgedGroup, StepRollouts, TokenNumbers
from trainers.records import Batch, StepReport
from trainers.rl.drawing import DrawnStep


@dataclass(frozen=True, slots=True)
class Learned:
    """An optimiser step: what it was taken on and what it did, both None where no group had a gradient."""

    batch: Batch | None
    report: StepReport | None
    seconds: float

    @property
    def updated(self) -> bool:
        """Whether the policy changed: an update of the step was not skipped and had a gradient."""
        if self.batch is None or self.report is None:
            return False
        return self.report.skipped < len(self.batch.minibatches) and self.report.gradient_norm != 0


def judged_step(step: int, places: int, drawn: DrawnStep, learned: Learned) -> StepRollouts:
    """The rollouts of a step of `places` places; slots are counted tries first, as `trainers.rl.buffer.Slot` says."""
    numbers = dict(_token_numbers(drawn, learned))
    trained = {group.group_id for group in drawn.trained}
    groups = (
        JudgedGroup(n % places, n // places, group, group.group_id in trained, numbers.get(group.group_id))
        for n, group in enumerate(drawn.judged)
    )
    return StepRollouts(step, tuple(groups))


def _token_numbers(drawn: DrawnStep, learned: Learned) -> Iterator[tuple[int, TokenNumbers]]:
    """Of each trained group by its id: its stretch of the batch, which lays groups end to end in id order."""
    if learned.batch is None or learned.report is None or learned.report.logprobs is None:
        return
    advantages = np.concatenate([stream.advantage for stream in learned.batch.streams])
    at = 0
    for group in sorted(drawn.trained, key=lambda group: group.group_id):
        end = at + _tokens(group)
        yield group.group_id, TokenNumbers(learned.report.logprobs[at:end], advantages[at:end])
        at = end


def _tokens(group: RolloutGroup) -> int:
    return sum(len(rollout.completion.token_ids) for rollout in group.rollouts)
