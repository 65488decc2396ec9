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

    evaluations = [folder.evaluation_with_texts(s.name) for s in recipe.stages if s.kind == "eval"]
    present = [e for e in evaluations if e is not None]
    before, after = (present[0], present[-1]) if len(present) > 1 else (present[0] if present else None, None)
    return write(
        folder.path,
        RunRecord(
            name=folder.name,
            recipe=recipe.model_dump(mode="json"),
            recipe_text=dump(recipe),
            task=next((s.eval.task for s in recipe.stages if isinstance(s, EvalStage)), None),
            bands=recipe.bands,
            stages=tuple(folder.stages()),
            before=before,
            after=after,
            events=events_of(folder.path),
        ),
    )
