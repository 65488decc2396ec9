"""Batches are made once each, by the makers in turn, a bounded number of steps ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trainers.pretrain.ahead import BUFFERED, Ahead, Recent


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


def test_each_batch_is_asked_for_once_and_the_next_ones_are_begun_by_the_makers_in_turn():
    makers = [Maker(), Maker()]
    ahead = Ahead(makers)
    assert [ahead.batch(step) for step in (5, 6)] == ["batch 5", "batch 6"]
    assert [maker.batch.steps for maker in makers] == [[6, 8], [5, 7, 9]]


def test_only_so_many_batches_are_held_however_long_the_stage():
    maker = Maker()
    ahead = Ahead([maker])
    for step in range(50):
        ahead.batch(step)
    assert maker.batch.steps == list(range(50 + BUFFERED))
    assert len(ahead._batches) == 1 + BUFFERED


def test_a_batch_is_made_once_for_all_ranks_and_held_as_long_as_one_may_be_behind():
    made: list[int] = []
    recent = Recent(lambda step: made.append(step) or f"batch {step}", ahead=3)
    for ahead in range(20):
        assert recent(ahead) == f"batch {ahead}"
        assert recent(max(0, ahead - 3)) == f"batch {max(0, ahead - 3)}"
    assert made == list(range(20))
    assert len(recent._made) <= 5
