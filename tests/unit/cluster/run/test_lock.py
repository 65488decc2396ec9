"""Two commands never work in one run folder, and who works there can be told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.ray.runtime import NotLive
from cluster.recipe.load import load
from cluster.run.client import live_run
from cluster.run.folder import RunFolder
from cluster.run.lock import LOCK_FILE, RunHeld, held, holder, note_stop


def test_a_second_command_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(RunHeld, match=rf"process {os.getpid()} on "), held(tmp_path):
        pass
    assert holder(tmp_path) is None
    with held(tmp_path):
        pass


def test_a_killed_command_holds_nothing(tmp_path: Path) -> None:
    kill_itself = (
        "import os, pathlib, cluster.run.lock as lock\n"
        f"with lock.held(pathlib.Path({str(tmp_path)!r})): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", kill_itself], check=False, timeout=120)
    assert (tmp_path / LOCK_FILE).read_text().endswith(socket.gethostname())
    assert holder(tmp_path) is None
    with held(tmp_path):
        pass


def test_a_process_that_got_the_number_of_a_dead_command_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / LOCK_FILE
    file.write_text(f"{os.getpid()} {socket.gethostname()}")
    assert holder(tmp_path) is not None
    os.utime(file, (0, 0))  # written before this process began
    assert holder(tmp_path) is None


def test_a_run_without_its_ray_yet_is_starting(tmp_path: Path) -> None:
    RunFolder(tmp_path).open(load("smoke"), resume=False)
    with held(tmp_path), pytest.raises(NotLive, match=rf"is starting .*process {os.getpid()}"), live_run(str(tmp_path)):
        pass
    with pytest.raises(NotLive, match="is not a live run"), live_run(str(tmp_path)):
        pass


def test_a_stop_is_noted_once_and_forgotten_by_the_next_command(tmp_path: Path) -> None:
    with held(tmp_path):
        assert note_stop(tmp_path)
        assert not note_stop(tmp_path)
    assert note_stop(tmp_path)  # the command had gone; kill -9 leaves such a note too
    with held(tmp_path):
        assert note_stop(tmp_path)
