"""A run is stopped from another process by a signal to the command that works in its folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.commands.runs.stop import main
from cluster.errors import StageFailed
from cluster.ray.runtime import NotLive
from cluster.run.lock import LOCK_FILE, holder, note_stop
from cluster.run.stop import ask_to_stop, stop
from cluster.study.folder import StudyFolder
from tests.studies import little
from verifier.errors import UserError

COMMAND = """
import os, pathlib, signal, sys, threading
from cluster.run.lock import held
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"asked\\n"))  # print is not reentrant
with held(pathlib.Path(sys.argv[1])):
    print("working", flush=True)
    while True:
        threading.Event().wait(0.1)
"""


def command(folder: Path, ears: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(folder), ears], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    return process


def test_the_command_of_a_run_is_told_to_end_and_waited_for(tmp_path: Path) -> None:
    with command(tmp_path, "hears") as process:
        stop(tmp_path)
        assert holder(tmp_path) is None
        assert process.wait(30) is not None
    with pytest.raises(NotLive, match="is not a live run"):
        stop(tmp_path)


def test_a_study_is_stopped_by_its_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "studies" / "little"
    StudyFolder(study).register(little(seeds=1))
    with command(study, "hears") as process:
        try:
            main("little")
            assert holder(study) is None
        finally:
            process.kill()
    assert capsys.readouterr().out == "little: stopped; interplay study and --resume continues it\n"


def test_a_command_that_does_not_end_in_time_is_named(tmp_path: Path) -> None:
    with command(tmp_path, "deaf") as process:
        try:
            with pytest.raises(StageFailed, match=f"process {process.pid} on .* has not ended"):
                stop(tmp_path, timeout_s=0.2)
        finally:
            process.kill()


def test_a_run_of_another_machine_is_not_stopped_from_here(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("1 elsewhere")
    with pytest.raises(NotLive, match="runs on another machine") as refused:
        stop(tmp_path)
    assert "interplay stop JOB --address URL" in refused.value.fix


def test_a_command_gets_one_signal_however_often_it_is_asked(tmp_path: Path) -> None:
    with command(tmp_path, "deaf") as process:
        try:
            for _ in range(3):
                assert ask_to_stop(tmp_path).pid == process.pid
            assert process.stdout is not None
            assert process.stdout.readline() == "asked\n"
        finally:
            process.kill()
            assert process.communicate()[0] == ""


def test_a_command_that_was_asked_by_its_terminal_gets_no_second_signal(tmp_path: Path) -> None:
    with command(tmp_path, "hears") as process:
        assert note_stop(tmp_path)  # as it does itself on Ctrl-C
        ask_to_stop(tmp_path)
        with pytest.raises(StageFailed, match="has not ended"):
            stop(tmp_path, timeout_s=0.5)
        assert process.poll() is None
        process.terminate()


def test_the_end_of_a_job_is_always_waited_for() -> None:
    with pytest.raises(UserError, match="--no-wait works only for runs on this machine"):
        main("a-job", address="nowhere", no_wait=True)


@pytest.mark.parametrize("name", ["little/arm0/0", "shared/before-0a1b2c3d"])
def test_a_run_of_a_study_at_work_is_not_stopped_since_the_study_would_start_it_again(
    tmp_path: Path, name: str
) -> None:
    study = StudyFolder(tmp_path / "little")
    study.register(little(seeds=1))
    run = tmp_path / name
    run.mkdir(parents=True)
    with command(study.path, "hears") as process:
        try:
            with pytest.raises(UserError, match=f"{name} is a run of the study little, which") as refused:
                main(str(run))
            assert refused.value.fix == f"Stop the study: interplay stop {study.path}"
            assert process.poll() is None
        finally:
            process.kill()
    with pytest.raises(NotLive, match=f"{name} is not a live run"):
        main(str(run))
