"""`interplay submit`: sends a recipe or a study to a Ray cluster as a job and follows its log."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.options import Insecure, Overrides, Resume, Wait
from verifier.errors import UserError

if TYPE_CHECKING:
    from cluster.ray.jobs import JobServer


def main(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE_OR_STUDY", help="Name of a shipped recipe or study, or a YAML file, which travels along."
        ),
    ],
    overrides: Overrides = None,
    address: Annotated[
        str, typer.Option(help="Job server of the cluster: HOST, HOST:PORT or a URL.")
    ] = "127.0.0.1:8265",
    run_dir: Annotated[
        str | None,
        typer.Option(
            help="Run folder on the cluster (of a study: that of studies), as a whole path; shared storage if it has "
            "several nodes. (default: a new one in the head's temporary folder)"
        ),
    ] = None,
    scale: Annotated[str | None, typer.Option(help="Of a study: one of its scales, or a YAML file with one.")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ARM", help="Of a study; repeatable.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Of a study: some of its seeds, as 0,1,2.")] = None,
    resume: Resume = False,
    python: Annotated[
        str, typer.Option(help="Interpreter of Interplay's environment on the cluster's head.")
    ] = "python",
    wait_s: Wait = 0,
    follow: Annotated[bool, typer.Option(help="Follow the log until the job ends.")] = True,
    insecure: Insecure = False,
) -> None:
    """Send a recipe or a study to a Ray cluster as a job and follow its log.

    If it names code in the current folder, the folder is sent along. The token comes from RAY_AUTH_TOKEN or
    RAY_AUTH_TOKEN_PATH. Ctrl-C stops following; the job continues. Exit code 0 if it succeeded or was not followed.
    """
    from cluster.ray import jobs
    from cluster.ray.packaging import Sent, own_folder, recipe_to_send
    from cluster.recipe.load import tree_of
    from cluster.study.load import StudyError, is_study
    from cluster.study.sending import require_known, study_to_send

    _require_lasting(run_dir, resume)
    require_known(recipe)
    changes = overrides or []
    flags = ["--resume"] * resume + ([f"--wait={wait_s:g}"] if wait_s else [])
    chosen = [f"--only={arm}" for arm in only or ()] + ([f"--seeds={seeds}"] if seeds is not None else [])
    study = is_study(recipe)
    if study:
        sent = study_to_send(recipe, scale, changes, [*flags, *chosen], Path.cwd())
    elif scale or chosen:
        raise StudyError(f"{recipe} is a recipe, not a study.", "Leave out --scale, --only and --seeds.")
    else:
        own = own_folder(tree_of(recipe, changes), Path.cwd())
        name, files = recipe_to_send(recipe)
        sent = Sent(Path(recipe).stem, ("run", name, *changes, *flags), files, own)
    server = jobs.reach(address, os.environ, insecure=insecure)
    job_id = jobs.submit_command(server, sent, "--dir" if study else "--run-dir", run_dir, python)
    print(f"job {job_id} on {server.address}", file=sys.stderr)
    if follow:
        _follow(server, job_id)
    else:
        print(job_id)


def _require_lasting(run_dir: str | None, resume: bool) -> None:
    """Raises UserError for a folder in which the next job would not find the run."""
    if run_dir is None and resume:
        raise UserError(
            "a job has a folder of its own unless --run-dir names one, so there would be nothing to continue.",
            "Name the folder of the run that is to be continued: --run-dir /shared/runs/NAME",
        )
    if run_dir is not None and not PurePosixPath(run_dir).is_absolute():
        raise UserError(
            f"--run-dir {run_dir} would lie in the folder that Ray unpacks for the job, and go with it.",
            "Name the whole path on the cluster: --run-dir /shared/runs/NAME",
        )


def _follow(server: JobServer, job_id: str) -> None:
    """Print the job's log until it ends. Raises typer.Exit if it did not succeed."""
    from cluster.ray import jobs

    try:
        status = jobs.follow(server, job_id, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(f"the job continues; to stop it: interplay stop {job_id} --address {server.address}", file=sys.stderr)
        raise
    print(f"job {job_id}: {status}", file=sys.stderr)
    if status != "SUCCEEDED":
        raise typer.Exit(1)
