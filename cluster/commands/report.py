"""`interplay report`: writes a run's report again from what its folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def main(run_dir: Annotated[Path, typer.Option(help="Folder of the run.")]) -> None:
    """Write report.json and report.html of a run again, finished or not."""
    from cluster.run.folder import RunFolder
    from cluster.run.stages import write_report

    folder = RunFolder(run_dir.resolve())
    write_report(folder, folder.recipe())
    typer.echo(f"report: {folder.path / 'report.html'}")
