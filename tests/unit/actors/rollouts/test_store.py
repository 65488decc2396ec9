"""A part for each step, whole or not there; a bounded number of parts; steps that are done again take the old place."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.rollouts.store import RolloutStore, parts
from tests.rollouts import step_rollouts


def steps(store: RolloutStore) -> list[int]:
    return list(parts(store.folder))


def filled(folder: Path, count: int, keep: int, seed: int = 0) -> RolloutStore:
    store = RolloutStore(folder, "rl", seed, keep)
    for step in range(1, count + 1):
        store.write(step_rollouts(step, groups=1))
    return store


def test_all_of_the_last_steps_are_kept_and_a_draw_of_as_many_older_ones(tmp_path):
    found = steps(filled(tmp_path, 20, keep=4))
    assert found[-4:] == [17, 18, 19, 20]
    assert len(found) == 8
    assert found[:4] != [13, 14, 15, 16]


def test_the_older_steps_are_drawn_by_the_seed_whatever_was_interrupted(tmp_path):
    straight = filled(tmp_path / "straight", 20, keep=4)
    resumed = filled(tmp_path / "resumed", 12, keep=4)
    again = RolloutStore(tmp_path / "resumed", "rl", 0, 4)
    again.rewind(12)
    for step in range(13, 21):
        again.write(step_rollouts(step, groups=1))
    assert steps(resumed) == steps(straight)
    assert steps(filled(tmp_path / "other", 20, keep=4, seed=1)) != steps(straight)


def test_what_a_resumed_run_does_again_is_forgotten_first_and_stands_there_once(tmp_path):
    store = filled(tmp_path, 6, keep=9)
    before = parts(store.folder)[3].read_bytes()
    store.rewind(4)
    assert steps(store) == [1, 2, 3, 4]
    for step in (5, 6):
        store.write(step_rollouts(step, groups=1))
    assert steps(store) == [1, 2, 3, 4, 5, 6]
    assert parts(store.folder)[3].read_bytes() == before


def test_a_part_that_a_kill_cut_off_is_no_part_and_is_swept(tmp_path):
    store = filled(tmp_path, 2, keep=9)
    torn = store.folder / ".step-000003.parquet.0123abcd"
    torn.write_bytes(b"PAR1 and no more")
    assert steps(store) == [1, 2]
    store.rewind(2)
    assert not torn.exists()


def test_a_disk_that_refuses_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "rollouts").write_text("no folder")
    with pytest.raises(OSError, match="rollouts"):
        RolloutStore(tmp_path, "rl", 0, 4).write(step_rollouts(1))
