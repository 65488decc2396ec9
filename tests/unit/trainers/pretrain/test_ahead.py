"""Batches are made once each, by the makers in turn, a bounded number of steps ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trainers.pretrain.ahead import BUFFERED, Ahead


@dataclass
class Asked:
    """A maker's remote method: it notes the steps that it is asked for, and answers with their number."""

    steps: list[int] = field(default_factory=list)

    def remote(self, step: int) -> str:
        self.steps.append(step)
        return f"batch {step}"


class Maker:
    def __init__(self) -> None:
        self.batch: Any = Asked()


def test_a_batch_is_made_once_for_all_ranks_and_the_next_ones_are_begun_by_the_makers_in_turn():
    makers = [Maker(), Maker()]
    ahead = Ahead(makers)
    assert [ahead.batch(step) for step in (5, 5, 6, 5, 6)] == [f"batch {step}" for step in (5, 5, 6, 5, 6)]
    assert [maker.batch.steps for maker in makers] == [[6, 8], [5, 7, 9]]


def test_only_so_many_batches_are_held_however_long_the_stage():
    maker = Maker()
    ahead = Ahead([maker])
    for step in range(50):
        ahead.batch(step)
    assert maker.batch.steps == list(range(50 + BUFFERED))
    assert len(ahead._batches) == 2 + BUFFERED
