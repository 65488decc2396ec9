"""Which parts and rows are found, and what is said of a run without any, of a damaged part, and of another form."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from actors.rollouts.query import Query, Status
from actors.rollouts.reading import DamagedPart, NoRollouts, OtherForm, kept
from actors.rollouts.store import RolloutStore, parts
from actors.rollouts.table import FORM_KEY
from tests.rollouts import step_rollouts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for stage, steps in (("rl", (1, 2, 3, 5)), ("more", (1,))):
        store = RolloutStore(tmp_path, stage, 0, 99)
        for step in steps:
            store.write(step_rollouts(step))
    return tmp_path


def test_parts_are_found_by_stage_and_step_the_newest_first(run):
    assert [(part.stage, part.step) for part in kept(run)] == [("rl", 5), ("rl", 3), ("rl", 2), ("rl", 1), ("more", 1)]
    assert [(part.stage, part.step) for part in kept(run, "more")] == [("more", 1)]
    assert [(part.stage, part.step) for part in kept(run, step=1)] == [("rl", 1), ("more", 1)]


def test_a_run_without_rollouts_and_a_step_that_was_not_kept_are_named(run, tmp_path):
    with pytest.raises(NoRollouts, match="holds no rollouts of a stage sft"):
        kept(run, "sft")
    with pytest.raises(NoRollouts, match="holds no rollouts of step 4") as refused:
        kept(run, "rl", 4)
    assert refused.value.fix == "Name one of 1-3, 5."


def test_rows_are_chosen_by_axes_and_status(run):
    (part,) = kept(run, "rl", 2)
    rows = part.read()
    assert [Status.of(row) for row in rows] == [Status.SOLVED, Status.ANSWER, Status.CUT] * 2
    assert [row.place for row in rows if Query({"op": "3"}, None).fits(row)] == [1, 1, 1]
    assert [row.sample for row in rows if Query({"op": "3"}, Status.ANSWER).fits(row)] == [1]
    assert not [row for row in rows if Query({"op": "9"}, None).fits(row)]


def test_a_part_that_is_cut_off_is_named_and_the_others_are_read(run):
    path = parts(run / "rollouts" / "rl")[2]
    path.write_bytes(path.read_bytes()[:-100])
    (part,) = kept(run, "rl", 2)
    with pytest.raises(DamagedPart, match=r"step-000002\.parquet cannot be read"):
        part.read()
    assert len(kept(run, "rl", 3)[0].read()) == 6


def test_no_flipped_bit_is_read_as_another_number(run):
    path = parts(run / "rollouts" / "rl")[2]
    whole, rows = path.read_bytes(), (part := kept(run, "rl", 2)[0]).read()
    noticed = 0
    for place in range(4, len(whole), 41):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert part.read() == rows, f"bit {place % 8} of byte {place}"  # what the reader does not use
        except (DamagedPart, OtherForm):
            noticed += 1
    assert noticed > 100


@pytest.mark.parametrize("name", [b"prompt_id\xf9", b"prompt_idz"])
def test_a_part_with_a_damaged_name_of_a_column_is_named(run, name):
    path = parts(run / "rollouts" / "rl")[2]
    path.write_bytes(path.read_bytes().replace(b"prompt_ids", name))
    (part,) = kept(run, "rl", 2)
    for look in (part.heads, part.read, lambda: part.row(0)):
        with pytest.raises(DamagedPart, match=r"step-000002\.parquet cannot be read"):
            look()


def test_a_part_that_was_written_without_checksums_is_read(run):
    path = parts(run / "rollouts" / "rl")[2]
    (part,) = kept(run, "rl", 2)
    rows = part.read()
    pq.write_table(pq.read_table(path), path)
    assert part.read() == rows


def test_heads_and_single_rows_say_what_whole_rows_say(run):
    (part,) = kept(run, "rl", 2)
    rows, heads = part.read(), part.heads()
    assert [head.row for head in heads] == list(range(6))
    for row, head in zip(rows, heads, strict=True):
        assert (head.place, head.attempt, head.sample) == (row.place, row.attempt, row.sample)
        assert (head.status, head.reward, head.tokens) == (Status.of(row), row.reward, len(row.completion_ids))
        assert (head.stratum, head.trained) == (row.stratum, row.trained)
        assert part.row(head.row) == row
    assert part.row(6) is None


def test_rollouts_of_another_form_are_refused(run):
    path = parts(run / "rollouts" / "rl")[2]
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({FORM_KEY: b"99"}), path)
    with pytest.raises(OtherForm, match="has the form 99, not 1"):
        kept(run, "rl", 2)[0].read()
