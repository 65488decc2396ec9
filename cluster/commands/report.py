"""`interplay report`: writes the report of a run or of a study again from what its folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def main(run_dir: Annotated[Path, typer.Option(help="Folder of the run or study.")]) -> None:
    """Write report.json and report.html of a run, or study.json and study.html of a study, finished or not."""
    from cluster.run.folder import RunFolder
    from cluster.run.stages import write_report
    from cluster.study.command import report
    from cluster.study.folder import StudyFolder

    study = StudyFolder(run_dir.resolve())
    if study.exists():
        report(study)
        return
    folder = RunFolder(run_dir.resolve())
    write_report(folder, folder.recipe())
    typer.echo(f"report: {folder.path / 'report.html'}")
