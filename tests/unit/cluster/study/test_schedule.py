"""What a person hears of a study while it runs; running one is tested in tests/integration/test_study.py."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.runs.live import LIVE
from cluster.ray.resources import Resources
from cluster.run.lock import held
from cluster.study import schedule
from cluster.study.folder import FAILURE_FILE, Registration, StudyFolder
from cluster.study.load import load, scale_of
from cluster.study.plan import Member
from trainers.evaluation.ledger import StageRecord
from trainers.status import RunStatus

FILE = Path(__file__).parents[3] / "integration" / "study.yaml"


def told(folder: StudyFolder, at: RunStatus, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a study says, twice, of a run that stands there."""
    study = load(str(FILE))
    run = next(run for run in Registration(study=study, scale=scale_of(study, None)).plan().runs if run.shared)
    folder.path_of(run.name).mkdir(parents=True)
    (folder.path_of(run.name) / LIVE).write_text(json.dumps({"time": time.time(), **asdict(at)}))
    waits = iter([([], []), ([], [])])
    said: list[str] = []

    def wait(references: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        try:
            return next(waits)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(schedule, "PROGRESS_S", 0.0)
    monkeypatch.setattr(schedule._Schedule, "_task", lambda self, run: run.name)
    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "cancel", lambda reference, recursive: None)
    runs = schedule._Schedule(folder, [run], lambda run, what: said.append(f"{run.members[0].arm} {what}"), 1)
    with pytest.raises(KeyboardInterrupt):
        runs.work()
    return said


def test_a_study_says_how_far_its_runs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = RunStatus("pretrain", 3, 12, {}, (), None)
    assert told(StudyFolder(tmp_path / "study"), at, monkeypatch) == ["strict pretrain     3/12"] * 2


def test_a_study_says_nothing_of_a_stage_whose_length_is_not_known_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = RunStatus("before", 0, 0, {}, (), None)
    assert told(StudyFolder(tmp_path / "study"), at, monkeypatch) == []


def test_a_run_that_another_command_is_at_fails_and_its_folder_is_left_alone(tmp_path: Path) -> None:
    study = load(str(FILE))
    folder = StudyFolder(tmp_path / "study")
    run = Registration(study=study, scale=scale_of(study, None)).plan().run(Member("strict", 3))
    said: list[str] = []
    path = folder.path_of(run.name)
    failing = schedule._Schedule(folder, [run], lambda run, what: said.append(str(what)), 1)
    with held(path):
        failing._fail(run, "another command works in it")
        assert not (path / FAILURE_FILE).exists()
    failing._fail(run, "no room")
    assert folder.standing(run).failure == "no room"
    assert said == ["failed: another command works in it", "failed: no room"]


@pytest.mark.timeout(600)
def test_a_shared_run_that_another_study_is_at_is_waited_for_and_not_repeated(
    tmp_path: Path, ray_session: Path
) -> None:
    study = load(str(FILE))
    run = next(run for run in Registration(study=study, scale=scale_of(study, None)).plan().runs if run.shared)
    folder = StudyFolder(tmp_path / "study")
    made = folder.run(run)
    with held(made.path):
        waiting = schedule._Schedule(folder, [run], lambda run, what: None, 1)._task(run)
        made.open(run.recipe, resume=False)
        for stage in run.recipe.stages:
            made.finish(StageRecord(stage.name, stage.kind, 1.5))
        assert ray.wait([waiting], timeout=5)[0] == []
    assert ray.get(waiting, timeout=400) is None
    assert [record.seconds for record in made.stages()] == [1.5] * len(run.recipe.stages)


@pytest.mark.parametrize(
    ("there", "width"),
    [
        (Resources(cpus=64, memory_gib=32), 4),  # memory for four, cores for 32
        (Resources(cpus=64, gpus=8, memory_gib=512), 32),
        (Resources(cpus=2, memory_gib=32), 1),
        (Resources(cpus=3, memory_gib=7), 1),
    ],
)
def test_as_many_runs_at_a_time_as_cores_gpus_and_memory_allow(there: Resources, width: int) -> None:
    assert schedule._width(Resources(cpus=2, memory_gib=6.5), there) == width


def test_a_gpu_that_runs_ask_for_bounds_their_number() -> None:
    each = Resources(cpus=2, gpus=1, memory_gib=6.5)
    assert schedule._width(each, Resources(cpus=64, gpus=3, memory_gib=512)) == 3
