"""`interplay report`: writes the report of a run or a study again, from the files in its folder."""

from __future__ import annotations

from typing import Annotated

import typer


def main(run: Annotated[str, typer.Argument(help="Name or folder of the run or study.")]) -> None:
    """Write report.json and report.html of a run, or study.json and study.html of a study, finished or not."""
    from cluster.run.folder import find_run
    from cluster.run.results.report import write_report
    from cluster.study.command import report
    from cluster.study.folder import find_study

    if (study := find_study(run)) is not None:
        report(study)
        return
    folder = find_run(run)
    write_report(folder, folder.recipe())
    typer.echo(f"report: {folder.path / 'report.html'}")
