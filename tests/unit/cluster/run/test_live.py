"""A live run keeps a file that says where it stands, and a server reads it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.runs.live import LIVE, STOPPING
from actors.workers.states import State
from actors.workers.status import FleetStatus, WorkerStatus
from cluster.run import live as live_file
from cluster.run.live import LiveFile
from serving.runs import live as reading
from serving.runs.live import live
from trainers.status import RunStatus

WORKER = WorkerStatus("rollout", "rollout-0.2", State.SYNCING, 71, None, 3, 1, "its process died in /somewhere")
FLEET = FleetStatus((WORKER,), 4, 1, 0, 0, 0, 0, 1e-6)
STANDS = RunStatus("rl", 3, 60, {"reward": 0.5}, ("a warning",), FLEET, "")


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_file, "LOOK_S", 0.01)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_server_reads_where_a_live_run_stands_and_nothing_of_its_machine(tmp_path: Path) -> None:
    file = LiveFile(tmp_path)
    file.tell(STANDS)
    with file.kept():
        until(lambda: live(tmp_path) is not None)
        at = live(tmp_path)
        assert at is not None
        assert (at.stage, at.done, at.total, at.stopping) == ("rl", 3, 60, False)
        assert at.fleet is not None
        assert [(w.name, w.state, w.weight_version, w.failures) for w in at.fleet.workers] == [
            ("rollout-0.2", "syncing", None, 1)
        ]
        assert (at.fleet.rollout_restarts, at.fleet.reward_restarts) == (1, 0)
        assert "somewhere" not in at.model_dump_json()
        (tmp_path / STOPPING).touch()
        again = live(tmp_path)
        assert again is not None
        assert again.stopping
    assert live(tmp_path) is None
    assert not (tmp_path / LIVE).exists()


def test_a_run_is_live_before_its_first_stage_begins(tmp_path: Path) -> None:
    with LiveFile(tmp_path).kept():
        until(lambda: live(tmp_path) is not None)
        at = live(tmp_path)
    assert at is not None
    assert (at.stage, at.fleet) == ("starting", None)


def test_a_status_that_stands_is_written_again_so_that_it_shows_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LiveFile(tmp_path)
    written: list[int] = []
    write = live_file.replace_text
    monkeypatch.setattr(live_file, "replace_text", lambda *of: (written.append(1), write(*of)))
    monkeypatch.setattr(live_file, "BEAT_S", 3600.0)
    file.tell(STANDS)
    with file.kept():
        until(lambda: bool(written))
        threading.Event().wait(0.2)
        assert written == [1]
        monkeypatch.setattr(live_file, "BEAT_S", 0.0)
        until(lambda: len(written) > 2)


def test_a_disk_that_takes_nothing_does_not_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def full(*_: object) -> None:
        tried.append(1)
        raise OSError("no space left on device")

    monkeypatch.setattr(live_file, "replace_text", full)
    monkeypatch.setattr(live_file, "BEAT_S", 0.0)
    file = LiveFile(tmp_path)
    file.tell(STANDS)
    with file.kept():
        until(lambda: len(tried) > 1)


def test_a_run_that_was_killed_is_not_live_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LiveFile(tmp_path)
    file.tell(STANDS)
    with file.kept():
        until(lambda: live(tmp_path) is not None)
        os.link(tmp_path / LIVE, tmp_path / "left")  # as after kill -9
    os.rename(tmp_path / "left", tmp_path / LIVE)
    assert live(tmp_path) is not None
    monkeypatch.setattr(reading, "SILENT_S", -1.0)
    assert live(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "3", '{"time": 1e12}', '{"time": 1e12, "stage": "rl", "fleet": 4}'])
def test_a_file_of_another_form_is_no_live_run(tmp_path: Path, text: str) -> None:
    (tmp_path / LIVE).write_text(text)
    assert live(tmp_path) is None
