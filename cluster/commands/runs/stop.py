"""`interplay stop`: stops a run of this machine, or a job on a Ray cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.options import Insecure
from verifier.errors import UserError


def main(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|JOB", help="Name or folder of a run or a study; with --address the id of a job."),
    ],
    address: Annotated[
        str | None, typer.Option(help="Stop a job: the job server of its cluster, HOST, HOST:PORT or a URL.")
    ] = None,
    insecure: Insecure = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Ask a run on this machine to stop, and do not wait until it has.")
    ] = False,
) -> None:
    """Stop a run, a study or a job on a Ray cluster, and wait until it has ended. Runs are saved before they end."""
    if address is not None and no_wait:
        raise UserError(
            "--no-wait works only for runs on this machine; for a job the command always waits.", "Leave --no-wait out."
        )
    if address is None:
        from cluster.run.folder import find_run
        from cluster.run.stop import ask_to_stop, stop
        from cluster.study.folder import find_study

        study = find_study(run)
        folder = study.path if study else find_run(run).path
        _require_no_study(folder)
        if no_wait:
            typer.echo(f"{folder.name}: {ask_to_stop(folder)} saves and ends")
            return
        stop(folder)
        again = "interplay study" if study else "interplay run with the same recipe"
        typer.echo(f"{folder.name}: stopped; {again} and --resume continues it")
        return
    from cluster.ray import jobs

    status = jobs.stop(jobs.reach(address, os.environ, insecure=insecure), run)
    typer.echo(f"job {run}: {status}")


def _require_no_study(folder: Path) -> None:
    """Raises UserError for a run of a study at work, which takes a run that ends for a lost one and starts it again."""
    from cluster.run.lock import holder
    from cluster.study.folder import StudyFolder
    from cluster.study.model import SHARED

    above = folder.parent.parent
    studies = sorted(above.iterdir()) if folder.parent.name == SHARED else [above]
    at_work = [path for path in studies if StudyFolder(path).exists() and holder(path) is not None]
    if at_work:
        raise UserError(
            f"{folder} is a run of the study {' or '.join(path.name for path in at_work)}, which would start it again.",
            f"Stop the study: interplay stop {' or '.join(map(str, at_work))}",
        )
