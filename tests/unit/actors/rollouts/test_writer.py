"""The writer never holds up who offers: what cannot be written is lost and told, and the rest is written."""

from __future__ import annotations

import threading
from pathlib import Path

from actors.rollouts.store import RolloutStore, parts
from actors.rollouts.table import StepRollouts
from actors.rollouts.writer import WAITING, RolloutWriter
from tests.rollouts import step_rollouts


class Stuck(RolloutStore):
    """A disk that answers only after `free` is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "rl", 0, 99)
        self.free = threading.Event()
        self.asked = threading.Event()

    def write(self, step: StepRollouts) -> None:
        self.asked.set()
        assert self.free.wait(60)
        super().write(step)


class Full(RolloutStore):
    """A disk that refuses the steps of `refused`."""

    refused = (2, 3)

    def write(self, step: StepRollouts) -> None:
        if step.step in self.refused:
            raise OSError(28, "No space left on device")
        super().write(step)


def test_what_is_offered_is_on_disk_when_it_is_settled(tmp_path):
    writer = RolloutWriter(RolloutStore(tmp_path, "rl", 0, 99))
    for step in (1, 2, 3):
        writer.offer(step_rollouts(step))
    writer.settle()
    assert list(parts(tmp_path / "rollouts" / "rl")) == [1, 2, 3]
    writer.rewind(1)
    writer.close()
    assert list(parts(tmp_path / "rollouts" / "rl")) == [1]
    assert writer.lost() == []


def test_a_disk_slower_than_the_run_costs_the_steps_that_find_no_place(tmp_path):
    store = Stuck(tmp_path)
    writer = RolloutWriter(store)
    writer.offer(step_rollouts(1))
    assert store.asked.wait(60)
    writer.rewind(9)  # takes no place
    for step in range(2, WAITING + 4):
        writer.offer(step_rollouts(step))
    assert [(lost.step, lost.in_a_row) for lost in writer.lost()] == [(WAITING + 2, 1), (WAITING + 3, 2)]
    store.free.set()
    writer.close()
    assert list(parts(store.folder)) == list(range(1, WAITING + 2))


def test_a_full_disk_costs_the_steps_that_it_refuses(tmp_path):
    writer = RolloutWriter(Full(tmp_path, "rl", 0, 99))
    for step in (1, 2, 3, 4):
        writer.offer(step_rollouts(step))
        writer.settle()
    lost = writer.lost()
    assert [(one.step, one.in_a_row) for one in lost] == [(2, 1), (3, 2)]
    assert "No space left" in lost[0].cause
    assert list(parts(tmp_path / "rollouts" / "rl")) == [1, 4]


def test_a_disk_that_does_not_answer_holds_up_a_checkpoint_once(tmp_path):
    store = Stuck(tmp_path)
    writer = RolloutWriter(store, settle_s=0.05)
    writer.offer(step_rollouts(1))
    writer.settle()
    writer.offer(step_rollouts(2))
    writer.close()
    assert [(lost.step, lost.cause) for lost in writer.lost()] == [(2, "the disk did not answer for 0.05 s")]
    store.free.set()


def test_nothing_is_written_where_nothing_is_to_be_kept(tmp_path):
    writer = RolloutWriter(RolloutStore(tmp_path, "rl", 0, 0))
    writer.offer(step_rollouts(1))
    writer.close()
    assert not (tmp_path / "rollouts").exists()
