"""The event log survives kills, torn lines and full disks; the metric table is sound."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from actors.telemetry import METRICS, EventLog, Meters, read_events


def test_events_come_back_in_order_with_their_fields(tmp_path: Path) -> None:
    with EventLog(tmp_path / "run" / "metrics.jsonl") as log:
        log.write("rl_step", step=1, reward=0.5)
        log.write("sync", version=1)
    events = list(read_events(tmp_path / "run" / "metrics.jsonl"))
    assert [e["event"] for e in events] == ["rl_step", "sync"]
    assert events[0]["reward"] == 0.5


def test_a_log_that_is_not_there_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "none.jsonl")) == []


def test_a_torn_last_line_is_not_read_and_is_cut_off_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"event": "a"}\n{"event": "b", "ste')
    assert [e["event"] for e in read_events(path)] == ["a"]
    with EventLog(path) as log:
        log.write("c")
    assert [e["event"] for e in read_events(path)] == ["a", "c"]


def test_a_damaged_line_before_the_last_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "a"}\nnonsense\n{"event": "b"}\n')
    with pytest.raises(ValueError, match="line 2"):
        list(read_events(path))


@pytest.mark.parametrize("left", [10, 0])
def test_a_full_disk_drops_events_whole(tmp_path: Path, left: int) -> None:
    path = tmp_path / "metrics.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EventLog(path) as log:
        log.write("before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + left, hard))
        try:
            log.write("too long for what is left", filler="x" * 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        log.write("after")
    assert [e["event"] for e in read_events(path)] == ["before", "after"]


def test_two_writers_of_one_log_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with EventLog(path) as one, EventLog(path) as other:
        for number in range(3):
            one.write("one", number=number)
            other.write("other", number=number)
    assert [(e["event"], e["number"]) for e in read_events(path)] == [
        (w, n) for n in range(3) for w in ("one", "other")
    ]


def test_a_number_that_is_not_finite_is_null_in_a_file_that_any_reader_of_json_takes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with EventLog(path) as log:
        log.write("a", loss=float("nan"), parts={"norm": float("inf"), "all": (1.0, float("-inf"))})
    (event,) = read_events(path)
    assert (event["loss"], event["parts"]) == (None, {"norm": None, "all": [1.0, None]})


def test_metric_names_are_unique_and_counters_end_in_total() -> None:
    assert len({m.name for m in METRICS}) == len(METRICS)
    assert all(m.name.endswith("_total") == (m.kind == "counter") for m in METRICS)


def test_a_metric_outside_the_table_is_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        Meters().add("interplay_unheard_of_total")
    with pytest.raises(AssertionError):
        Meters().add("interplay_workers")
