"""What a person hears of a study while it runs; running one is tested in tests/integration/test_study.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray

from cluster.study import schedule
from cluster.study.folder import Registration, StudyFolder
from cluster.study.load import load, scale_of
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


def test_a_study_says_how_far_its_runs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load(str(FILE))
    plan = Registration(study=study, scale=scale_of(study, None)).plan()
    first = next(run for run in plan.runs if run.shared)
    waits = iter([([], []), ([], [])])
    told: list[tuple[str, Any]] = []

    def wait(references: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        try:
            return next(waits)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(schedule, "PROGRESS_S", 0.0)
    monkeypatch.setattr(schedule._Schedule, "_task", lambda self, run: run.name)
    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "get", lambda reply, timeout: reply)
    monkeypatch.setattr(ray, "cancel", lambda reference, recursive: None)
    at = RunStatus("before", 3, 12, {}, (), None)
    monkeypatch.setattr(ray, "get_actor", lambda name, namespace: Answering(at))
    runs = schedule._Schedule(StudyFolder(tmp_path), [first], lambda run, what: told.append((run.name, what)), 1)
    with pytest.raises(KeyboardInterrupt):
        runs.work()
    assert told == [(first.name, "before       3/12")] * 2
