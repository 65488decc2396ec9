"""A server reaches a run by the commands that a person would type, and passes on their words without paths."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from cluster.serve import control
from cluster.serve.control import RunCommands
from serving.runs.control import NotTaken
from tests.unit.cluster.run.test_stop import command


def test_a_live_run_is_asked_to_stop_once_and_not_waited_for(tmp_path: Path) -> None:
    with command(tmp_path, "deaf") as process:
        try:
            RunCommands().stop(tmp_path)
            RunCommands().stop(tmp_path)
            assert process.stdout is not None
            assert process.stdout.readline() == "asked\n"
        finally:
            process.kill()
            assert process.communicate()[0] == ""


def test_what_a_command_refuses_is_told_without_the_folder(tmp_path: Path) -> None:
    run = tmp_path / "demo"
    RunFolder(run).open(load("smoke"), resume=False)
    with pytest.raises(NotTaken) as refused:
        RunCommands().stop(run)
    assert str(refused.value) == "demo is not a live run."
    with pytest.raises(NotTaken) as refused:
        RunCommands().scale(run, 2, None)
    assert str(refused.value) == "demo is not a live run."


def test_the_numbers_become_options(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(control, "_run", lambda *of: asked.append(of[1:]))
    RunCommands().scale(Path("demo"), 3, None)
    RunCommands().scale(Path("demo"), None, 2)
    RunCommands().scale(Path("demo"), 1, 4)
    assert asked == [
        ("scale", "--rollout-workers=3"),
        ("scale", "--reward-workers=2"),
        ("scale", "--rollout-workers=1", "--reward-workers=4"),
    ]


def test_a_command_that_gives_no_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ANSWER_S", 0.01)
    with pytest.raises(NotTaken, match="no answer in"):
        RunCommands().stop(tmp_path)


def test_a_command_that_fails_without_words_is_said_to_have_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NotTaken, match="the server's log has what it said"):
        RunCommands().stop(tmp_path)
