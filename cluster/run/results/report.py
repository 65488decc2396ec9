"""The report of a run, computed from what its folder holds."""

from __future__ import annotations

from typing import Any

from cluster.recipe.config import EvalStage, Recipe
from cluster.recipe.load import dump
from cluster.run.folder import RunFolder
from trainers.evaluation.report import RunRecord, events_of


def write_report(folder: RunFolder, recipe: Recipe) -> dict[str, Any]:
    """Write both reports from the files of the run folder; returns the content of `report.json`."""
    from trainers.evaluation.page import write  # matplotlib takes a second to import, and only this needs it

    measured = [(s.eval.task, folder.evaluation_with_texts(s.name)) for s in recipe.stages if isinstance(s, EvalStage)]
    return write(
        folder.path,
        RunRecord(
            name=folder.name,
            recipe=recipe.model_dump(mode="json"),
            recipe_text=dump(recipe),
            bands=recipe.bands,
            stages=tuple(folder.stages()),
            evaluations=tuple((task, evaluation) for task, evaluation in measured if evaluation is not None),
            events=events_of(folder.path),
        ),
    )
