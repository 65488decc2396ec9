from __future__ import annotations

from pathlib import Path

import pytest

from cluster.run.work.progress import Reporter
from trainers.evaluation.ledger import StageRecord
from trainers.pretrain.pretrain import TrainingProgress
from trainers.status import RunStatus


def test_a_warning_is_printed_once_and_what_it_says_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    report = Reporter("demo")
    report.begin("rl")
    at = RunStatus("rl", 3, 60, {"reward": 0.5}, ("step 2 was not saved: [bold]disk[/bold] full",), None)
    report.running(at)
    report.running(at)
    report.end(StageRecord("rl", "rl", 12.0, 1234))
    told = capsys.readouterr().err
    assert told.count("warning: step 2 was not saved: [bold]disk[/bold] full") == 1
    assert "1,234 tokens" in told


def test_a_finding_is_told_with_its_stage_and_what_it_says_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    report = Reporter("demo")
    report.begin("rl")
    report.found("the entropy has collapsed since step 16: [bold]0.2[/bold]")
    assert (
        "  rl           finding: the entropy has collapsed since step 16: [bold]0.2[/bold]" in capsys.readouterr().err
    )


def test_where_a_run_stands_is_published_as_a_stage_begins_and_as_it_goes_on() -> None:
    told: list[RunStatus] = []
    report = Reporter("demo", publish=told.append)
    report.begin("pretrain")
    report.pretraining(TrainingProgress(5, 90, 2.5, 0.1, 1e-3, 100, 1e6, 0.0, 10.0, 1.0, 0))
    report.begin("rl")
    at = RunStatus("rl", 3, 60, {"reward": 0.5}, (), None)
    report.running(at)
    assert [(one.stage, one.done, one.total) for one in told] == [
        ("pretrain", 0, 0), ("pretrain", 5, 90), ("rl", 0, 0), ("rl", 3, 60)
    ]  # fmt: skip
    assert told[1].numbers == {"loss": 2.5}
    assert told[-1] is at


@pytest.mark.parametrize("written", [True, False])
def test_a_report_is_named_only_if_the_run_wrote_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: bool
) -> None:
    if written:
        (tmp_path / "report.html").touch()
    Reporter("demo").finished(tmp_path)
    assert ("report.html" in capsys.readouterr().err) is written


def test_a_folder_is_named_as_it_is_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "exp[edge]" / "x[" / "y]"
    folder.mkdir(parents=True)
    (folder / "report.html").touch()
    Reporter("demo[edge]").finished(folder)
    told = capsys.readouterr().err.splitlines()
    assert told == ["demo[edge]", f"report: {folder / 'report.html'}", f"serve:  interplay serve {folder}"]
