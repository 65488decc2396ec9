"""The log of a run is read as it grows, whoever wrote it and whatever happens to the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from actors.diagnosis.findings import diagnose
from actors.runs.log import RunGone, RunLog
from tests.runs import append, step_event, sync_event, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "demo", 5)


def read(run: Path) -> RunLog:
    log = RunLog(run)
    log.read()
    return log


def test_stages_have_their_steps_numbers_strata_and_times(run):
    append(run, {"event": "rl_eval", "time": 1.7e9 + 5, "stage": "rl", "step": 5, "strict_pass@1": 0.5, "tokens": 9})
    stage = read(run).stages["rl"]
    assert list(stage.numbers.steps) == [1, 2, 3, 4, 5]
    assert (stage.kind, stage.total, stage.began, stage.ended) == ("rl", 5, 1.7e9 + 1, 1.7e9 + 5)
    assert stage.shares.names == ["op=4", "op=5"]
    assert stage.shares.curve("op=4", range(5)).values == [0.5] * 5
    assert stage.evaluations.curve("strict_pass@1", range(1)).values == [0.5]
    assert stage.evaluations.names == ["strict_pass@1"]


def test_only_what_was_appended_is_read_again(run):
    log = read(run)
    version = log.version
    log.read()
    assert log.version == version
    append(run, step_event(6, 9))
    log.read()
    assert log.version == version + 1
    assert list(log.stages["rl"].numbers.steps) == [1, 2, 3, 4, 5, 6]


def test_the_beginning_of_a_line_waits_for_its_end(run):
    log = read(run)
    line = json.dumps(step_event(6, 9)) + "\n"
    with (run / "metrics.jsonl").open("a") as file:
        file.write(line[:40])
        file.flush()
        log.read()
        assert log.stages["rl"].numbers.steps[-1] == 5
        file.write(line[40:])
    log.read()
    assert log.stages["rl"].numbers.steps[-1] == 6


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "7",
        '{"time": 1}',
        '{"event": "rl_step", "time": 1, "stage": "rl"}',
        '{"event": "rl_step", "time": 1, "stage": "rl", "step": "six"}',
        '{"event": "rl_step", "time": 1, "stage": "rl", "step": 6e99}',
        '{"event": "rl_step", "time": 1, "stage": "rl", "step": 1' + "0" * 30 + "}",
        '{"event": "rl_step", "time": null, "stage": "rl", "step": 6}',
        '{"event": "rl_step", "time": 1, "stage": "rl", "step": 6, "strata": [1]}',
        '{"event": "sync", "time": 1}',
        "\xff\xfe",
    ],
)
def test_a_line_that_is_no_event_is_counted_and_left_out(run, line):
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    append(run, step_event(7, 9))
    log = read(run)
    assert log.left_out == 1
    assert log.stages["rl"].numbers.steps[-1] == 7


def test_events_of_other_versions_are_no_faults(run):
    append(run, {"event": "something new", "time": 5.0}, {"event": "rl_step", "time": 1.0, "stage": "rl", "step": 6})
    log = read(run)
    assert log.left_out == 0
    assert log.stages["rl"].numbers.row(5)["reward"] is None


def test_workers_are_known_by_their_last_update_and_fleets_by_their_counts(run):
    append(run, sync_event(6, "rollout-0.3"), sync_event(6, "rollout-1.2"))
    append(run, {"event": "fleet", "time": 6.0, "stage": "rl", "rollout_restarts": 2, "parity_max_abs_diff": 0.1})
    append(run, {"event": "resumed", "time": 6.0, "stage": "rl", "step": 4})
    log = read(run)
    assert {slot: worker.name for slot, worker in log.workers.items()} == {
        "rollout-0": "rollout-0.3",
        "rollout-1": "rollout-1.2",
    }
    assert log.workers["rollout-1"].pause_s == 0.15
    assert log.counters == {"rollout_restarts": 2}
    assert log.noted == {"resumed": 1}


def test_another_file_and_a_shorter_one_are_read_anew(run):
    log = read(run)
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]))
    log.read()
    assert list(log.stages["rl"].numbers.steps) == [1, 2]
    other = run / "other.jsonl"
    other.write_text("".join(lines[:3]))
    other.rename(path)
    log.read()
    assert list(log.stages["rl"].numbers.steps) == [1, 2, 3]


def test_a_run_that_has_not_begun_is_empty_and_one_that_vanished_has_gone(run, tmp_path):
    (tmp_path / "young").mkdir()
    assert read(tmp_path / "young").stages == {}
    log = read(run)
    shutil.rmtree(run)
    with pytest.raises(RunGone):
        log.read()
    with pytest.raises(RunGone):
        read(tmp_path / "nowhere")
    write_run(run, 3)
    log.read()
    assert log.stages["rl"].numbers.steps[-1] == 3


def test_the_findings_are_those_of_the_diagnosis(run):
    bad = [step_event(step, 12, truncated=0.6, no_gradient=1.0, skipped=1) for step in range(6, 13)]
    append(run, *bad)
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = read(run).findings()
    assert {finding.name for finding in found} == {"never-ending", "no-signal"}
    assert found == diagnose(events)
