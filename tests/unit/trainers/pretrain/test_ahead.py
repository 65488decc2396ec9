"""Batches are made once each, by the makers in turn, a bounded number of steps ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.config import TokenizerConfig
from actors.policy.tokenizer import build_tokenizer
from tests.tasks import Sums
from trainers.config import PretrainConfig
from trainers.pretrain.ahead import BUFFERED, Ahead, BatchMaker, NotMade, Recent
from verifier.families import config_of
from verifier.seeds import Index
from verifier.task import Item, Split, Stratum


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


class Torn(Sums):
    """A user's task that has no item 4,003."""

    def item(self, stratum: Stratum, seed: int, index: Index, split: Split) -> Item:
        if index == 4003:
            raise ZeroDivisionError("nothing by nothing")
        return super().item(stratum, seed, index, split)


def test_what_a_task_raises_is_no_death_of_its_process_which_would_be_tried_again(tmp_path: Path):
    build_tokenizer(TokenizerConfig(templates=("zoo",))).save_pretrained(tmp_path)
    task = config_of("python").model_validate({"object": f"{__name__}:{Torn.__name__}"})
    config = PretrainConfig(task=task, steps=2000, documents_per_step=4, checkpoint_every=2)
    maker = BatchMaker(config, tmp_path, 0, None, 1)
    assert maker.made(999).tokens > 0
    with pytest.raises(NotMade, match="the batch of step 1001 cannot be made: ZeroDivisionError: nothing by nothing"):
        maker.made(1000)
