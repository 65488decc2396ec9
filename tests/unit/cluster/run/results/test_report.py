"""The report of a run carries the name of its folder, so that the reports of two runs can be told apart."""

from __future__ import annotations

from pathlib import Path

from cluster.recipe.load import load
from cluster.run.folder import RunFolder
from cluster.run.results.report import write_report


def test_reports_of_two_runs_of_one_recipe_are_titled_by_their_folders(tmp_path: Path) -> None:
    recipe = load("smoke")
    for name in ("first", "second"):
        folder = RunFolder(tmp_path / name)
        folder.open(recipe, resume=False)
        assert write_report(folder, recipe)["run"] == name
        page = (folder.path / "report.html").read_text()
        assert f"<title>{name} - Interplay report</title>" in page
        assert "smoke: Every stage in under two minutes" in page
