"""What a person hears of a study while it runs; running one is tested in tests/integration/test_study.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.telemetry import EventLog
from cluster.study import schedule
from cluster.study.folder import Registration, StudyFolder
from cluster.study.load import load, scale_of
from cluster.study.plan import Run
from trainers.budget import NOTHING
from trainers.evaluation.ledger import StageRecord
from trainers.status import RunStatus

FILE = Path(__file__).parents[3] / "integration" / "study.yaml"


class Answering:
    """A controller that says how far its run is; `ray.get` of what it gives is that itself."""

    status: Any = None

    def __init__(self, at: RunStatus) -> None:
        self.status = self
        self._at = at

    def remote(self) -> RunStatus:
        return self._at


def told(folder: StudyFolder, run: Run, at: RunStatus | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a study says, twice, of a run whose controller answers `at`, or that has none."""
    waits = iter([([], []), ([], [])])
    said: list[str] = []

    def wait(references: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        try:
            return next(waits)
        except StopIteration:
            raise KeyboardInterrupt from None

    def get_actor(name: str, namespace: str) -> Answering:
        if at is None:
            raise ValueError(name)
        return Answering(at)

    monkeypatch.setattr(schedule, "PROGRESS_S", 0.0)
    monkeypatch.setattr(schedule._Schedule, "_task", lambda self, run: run.name)
    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "get", lambda reply, timeout: reply)
    monkeypatch.setattr(ray, "cancel", lambda reference, recursive: None)
    monkeypatch.setattr(ray, "get_actor", get_actor)
    runs = schedule._Schedule(folder, [run], lambda run, what: said.append(f"{run.name} {what}"), 1)
    with pytest.raises(KeyboardInterrupt):
        runs.work()
    return said


def at_stage(folder: StudyFolder, stage: str) -> Run:
    """A shared run of a base and this stage, whose base is done."""
    study = load(str(FILE))
    run = next(run for run in Registration(study=study, scale=scale_of(study, None)).plan().runs if run.shared)
    folder.path_of(run.name).mkdir(parents=True)
    folder.run(run).finish(StageRecord.of("base", "base", 1.0, NOTHING))
    return replace(run, own=("base", stage))


def test_a_study_says_how_far_an_evaluation_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StudyFolder(tmp_path / "study")
    run = at_stage(folder, "before")
    at = RunStatus("before", 3, 12, {}, (), None)
    assert told(folder, run, at, monkeypatch) == [f"{run.name} before       3/12"] * 2


def test_a_study_says_nothing_of_a_stage_whose_length_is_not_known_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StudyFolder(tmp_path / "study")
    run = at_stage(folder, "before")
    assert told(folder, run, RunStatus("before", 0, 0, {}, (), None), monkeypatch) == []


def test_a_study_says_how_far_a_stage_on_texts_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StudyFolder(tmp_path / "study")
    run = at_stage(folder, "pretrain")
    with EventLog(folder.run(run).metrics) as log:
        for step in (20, 40):
            log.write("pretrain_step", stage="pretrain", step=step, steps=60)
        log.write("pretrain_step", stage="midtrain", step=5, steps=10)
    for at in (None, RunStatus("another", 3, 12, {}, (), None)):
        assert told(folder, run, at, monkeypatch) == [f"{run.name} pretrain     40/60"] * 2
