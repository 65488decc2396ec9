"""Two commands never work in one run folder, and who works there can be told."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cluster.commands.runs.run import main as run
from cluster.errors import RunFolderError
from cluster.ray.runtime import CLUSTER_FILE, ClusterRecord, NotLive
from cluster.recipe.load import load
from cluster.run import lock
from cluster.run.client import live_run
from cluster.run.folder import RunFolder
from cluster.run.lock import LOCK_FILE, RunHeld, held, holder, note_stop


def test_a_second_command_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(RunHeld, match=rf"process {os.getpid()} on "), held(tmp_path):
        pass
    assert holder(tmp_path) is None
    with held(tmp_path):
        pass


def test_a_command_that_waits_has_the_folder_when_the_other_has_left_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock, "LOOK_S", 0.01)
    order: list[str] = []

    def wait() -> None:
        with held(tmp_path, wait=True):
            order.append("second")

    second = threading.Thread(target=wait)
    with held(tmp_path):
        second.start()
        second.join(timeout=0.3)
        order.append("first")
    second.join(timeout=60)
    assert order == ["first", "second"]
    assert holder(tmp_path) is None


@pytest.mark.parametrize("name", ["file", "file/x", "a" * 300, "/proc/x"])
def test_what_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be used as a folder"), held(tmp_path / name):
        pass
    with pytest.raises(RunFolderError, match="cannot be used as a folder"):
        run("smoke", run_dir=tmp_path / name)


def test_what_is_no_folder_has_no_holder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert holder(tmp_path / "nowhere") is None
    for name in ("file", "a" * 300):
        with pytest.raises(RunFolderError):
            holder(tmp_path / name)


def test_a_killed_command_holds_nothing(tmp_path: Path) -> None:
    kill_itself = (
        "import os, pathlib, cluster.run.lock as lock\n"
        f"with lock.held(pathlib.Path({str(tmp_path)!r})): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", kill_itself], check=False, timeout=120)
    assert (tmp_path / LOCK_FILE).read_text().split()[1] == socket.gethostname()
    assert holder(tmp_path) is None
    with held(tmp_path):
        pass


def test_a_process_that_got_the_number_of_a_dead_command_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / LOCK_FILE
    with held(tmp_path):
        pid, host, began = file.read_text().split()
    assert began.isdecimal()
    file.write_text(f"{pid} {host} {began}")
    assert holder(tmp_path) is not None
    file.write_text(f"{pid} {host} {int(began) - 1}")
    assert holder(tmp_path) is None


def test_a_command_holds_its_folder_however_the_clock_is_set_and_whatever_version_it_is_of(tmp_path: Path) -> None:
    with held(tmp_path):
        os.utime(tmp_path / LOCK_FILE, (0, 0))  # as if the clock had gone forward since
        assert holder(tmp_path) is not None
        (tmp_path / LOCK_FILE).write_text(f"{os.getpid()} {socket.gethostname()}")
        assert holder(tmp_path) is not None


def test_a_run_without_its_ray_yet_is_starting(tmp_path: Path) -> None:
    RunFolder(tmp_path).open(load("smoke"), resume=False)
    with held(tmp_path), pytest.raises(NotLive, match=rf"is starting .*process {os.getpid()}"), live_run(str(tmp_path)):
        pass
    with pytest.raises(NotLive, match="is not a live run"), live_run(str(tmp_path)):
        pass


def test_a_run_of_another_machine_is_told_with_its_host_and_what_to_do(tmp_path: Path) -> None:
    """As a container finds it that takes the place of one that was killed: under another name, nobody there."""
    RunFolder(tmp_path).open(load("smoke"), resume=False)
    (tmp_path / LOCK_FILE).write_text("7 elsewhere")
    record = ClusterRecord("127.0.0.1:1", None, "interplay", "elsewhere", 7)
    for address in (None, "127.0.0.1:1", "192.0.2.1:1"):
        if address is not None:
            (tmp_path / CLUSTER_FILE).write_text(json.dumps(asdict(replace(record, address=address))))
        told = pytest.raises(NotLive, match="process 7 on elsewhere works in it, or was killed")
        with told as refused, live_run(str(tmp_path)):
            pass
        assert "Ask on elsewhere." in refused.value.fix
        assert "--resume" in refused.value.fix
        assert "--address" not in refused.value.fix


def test_a_stop_is_noted_once_and_forgotten_by_the_next_command(tmp_path: Path) -> None:
    with held(tmp_path):
        assert note_stop(tmp_path)
        assert not note_stop(tmp_path)
    assert note_stop(tmp_path)  # the command had gone; kill -9 leaves such a note too
    with held(tmp_path):
        assert note_stop(tmp_path)
