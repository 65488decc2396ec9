"""The report of a run carries the name of its folder, so that the reports of two runs can be told apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.recipe.config import EvalStage
from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from cluster.run.results.report import write_report
from trainers.evaluation.evaluate import Evaluation, ProblemScore, TextSample
from verifier.families import open_task


def test_reports_of_two_runs_of_one_recipe_are_titled_by_their_folders(tmp_path: Path) -> None:
    recipe = load("smoke")
    for name in ("first", "second"):
        folder = RunFolder(tmp_path / name)
        folder.open(recipe, resume=False)
        assert write_report(folder, recipe)["run"] == name
        page = (folder.path / "report.html").read_text()
        assert f"<title>{name} - Interplay report</title>" in page
        assert "smoke: Every stage in under two minutes" in page


def test_the_report_shows_the_texts_of_both_evaluations_and_other_readers_do_not_read_them(tmp_path: Path) -> None:
    recipe, folder = load("smoke"), RunFolder(tmp_path)
    folder.open(recipe, resume=False)
    task = open_task(next(stage.eval.task for stage in recipe.stages if isinstance(stage, EvalStage)))
    items = [item for stratum in task.strata() for item in task.held_out(stratum, 1, seed=1)]
    for stage, right in (("before", 0), ("after", 4)):
        texts = tuple(TextSample(i.address, str(i.prompt), stage, task.judge(i, stage)) for i in items)
        scores = tuple(ProblemScore(i.id, i.stratum, 4, right, right, 0.5, {}) for i in items)
        measured = Evaluation("c", 1.0, 1, 1.0, 1.0, scores, texts)
        folder.save_evaluation(stage, replace(measured, texts=texts))
        assert folder.evaluation(stage) == measured
    write_report(folder, recipe)
    for (problem,) in changed(tmp_path):
        assert (problem["fate"], problem["before"]["text"], problem["after"]["text"]) == ("gained", "before", "after")
    (tmp_path / "evals" / "before.texts.json").unlink()  # as an older version left it
    write_report(folder, recipe)
    assert changed(tmp_path) == [[], []]


def changed(run_dir: Path) -> list[Any]:
    """The problems behind what changed, by stratum."""
    return list(json.loads((run_dir / "changed.json").read_text()).values())
