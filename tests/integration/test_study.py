"""A study as a person runs it: killed, resumed, and each of its runs the same as `interplay run` alone.

Real Ray, vLLM and DeepSpeed in processes of their own.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.policy.checkpoint import CheckpointStore
from cluster.recipe.load import dump
from cluster.run.lock import held
from cluster.study.folder import FAILURE_FILE, Registration, StudyFolder
from cluster.study.load import load, scale_of
from cluster.study.plan import Member
from tests.integration.test_run import DEADLINE_S, interplay, learner_steps, when

FILE = Path(__file__).with_name("study.yaml")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def study(folder: Path, *more: str) -> tuple[int, str]:
    with interplay("study", str(FILE), "--dir", str(folder), *more) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
    return process.returncode, output


def runs_of(folder: StudyFolder) -> dict[str, dict]:
    arms = json.loads((folder.path / "study.json").read_text())["arms"]
    return {run["folder"]: run for arm in arms.values() for run in arm["runs"].values()}


def test_a_study_that_was_killed_goes_on_and_its_runs_are_those_of_interplay_run(tmp_path: Path):
    given = Registration(study=load(str(FILE)), scale=scale_of(load(str(FILE)), None))
    plan, folder = given.plan(), StudyFolder(tmp_path / "little")
    shared = folder.run(next(run for run in plan.runs if run.shared))
    strict = folder.run(plan.run(Member("strict", 3)))

    with interplay("study", str(FILE), "--dir", str(tmp_path)) as process:
        when(lambda: strict.metrics.exists() and len(learner_steps(strict.path)) >= 2, process)
        process.kill()
        process.wait(timeout=30)
    once = (shared.path / "stages.json").read_bytes()
    assert study(tmp_path)[0] == 2, "a folder that holds a study is not gone on with unasked"
    with held(folder.path / "outcome" / "3"):
        code, output = study(tmp_path, "--resume")
    assert code == 1, output
    assert [run["done"] for run in runs_of(folder).values()] == [True, False], "one failed, and the other went on"
    assert "another command works in" in output
    assert not (folder.path / "outcome" / "3" / FAILURE_FILE).exists(), "the folder of the other is left alone"
    code, output = study(tmp_path, "--resume")
    assert code == 0, output

    assert (shared.path / "stages.json").read_bytes() == once, "what arms share was not run again"
    found = json.loads((folder.path / "study.json").read_text())
    assert all(run["done"] for run in runs_of(folder).values())
    assert found["claims"][0]["missing"] == []
    assert {spent["samples"] for arm in found["arms"].values() for spent in arm["spent"].values()} == {64}

    alone = tmp_path / "alone"
    (tmp_path / "strict.yaml").write_text(dump(plan.run(Member("strict", 3)).recipe))
    with interplay("run", str(tmp_path / "strict.yaml"), "--run-dir", str(alone)) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    assert strict.store.get("rl-4").weight_hash == CheckpointStore(alone / "checkpoints").get("rl-4").weight_hash
    for stage in ("before", "after"):
        scores = [json.loads((path / "evals" / f"{stage}.json").read_text())["scores"] for path in (strict.path, alone)]
        assert scores[0] == scores[1]
