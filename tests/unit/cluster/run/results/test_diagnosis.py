"""`interplay diagnose` prints findings with the setting to change, for a person or a program, or says there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from actors.telemetry import EventLog
from cluster.commands.runs.diagnose import main
from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from tests.unit.actors.diagnosis.test_rules import FAULTS, stage


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "r")
    made.open(load("smoke"), resume=False)
    return made


def told(folder: RunFolder, *options: str) -> str:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, [str(folder.path), *options])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def write(folder: RunFolder, events: list[dict]) -> None:
    with EventLog(folder.metrics) as log:
        for event in events:
            log.write(**event)


def test_a_finding_is_told_with_its_evidence_its_knob_and_its_page(folder):
    write(folder, stage(FAULTS["entropy-collapse"]))
    first, change, docs = told(folder).splitlines()
    assert (
        first
        == "entropy-collapse (rl): the entropy has collapsed since step 16: entropy 0.2 nats per token, 1 at first"
    )
    assert change.startswith("  change: a lower learning_rate")
    assert docs == "  docs: docs/diagnosis.md#entropy-collapse"
    (found,) = json.loads(told(folder, "--json"))
    assert (found["name"], found["since"], found["line"]) == ("entropy-collapse", 16, first.partition(": ")[2])


def test_a_healthy_run_and_one_without_rl_are_told_apart(folder):
    assert told(folder) == "the run has no RL step yet\n"
    write(folder, stage())
    assert told(folder) == "no finding in 30 RL steps\n"
    assert told(folder, "--json") == "[]\n"
