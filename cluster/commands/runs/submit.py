"""`interplay submit`: sends a recipe to a Ray cluster as a job and follows its log."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.options import Insecure, Overrides, Resume, Wait


def main(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a YAML file, which travels along.")],
    overrides: Overrides = None,
    address: Annotated[
        str, typer.Option(help="Job server of the cluster: HOST, HOST:PORT or a URL.")
    ] = "127.0.0.1:8265",
    run_dir: Annotated[
        str | None, typer.Option(help="Run folder on the cluster; shared storage where it has several nodes.")
    ] = None,
    resume: Resume = False,
    python: Annotated[
        str, typer.Option(help="Interpreter of Interplay's environment on the cluster's head.")
    ] = "python",
    wait_s: Wait = 0,
    follow: Annotated[bool, typer.Option(help="Follow the log until the job ends.")] = True,
    insecure: Insecure = False,
) -> None:
    """Send a recipe to a Ray cluster as a job and follow its log.

    If the recipe names code in the current folder, the folder is sent along.
    The token comes from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH. Ctrl-C stops following; the job continues. Exit code 0
    only if the job succeeded (or was not followed).
    """
    from cluster.ray import jobs
    from cluster.ray.packaging import own_folder
    from cluster.recipe.load import tree_of

    own = own_folder(tree_of(recipe, overrides or ()), Path.cwd())
    server = jobs.reach(address, os.environ, insecure=insecure)
    flags = ["--resume"] * resume + ([f"--wait={wait_s:g}"] if wait_s else [])
    job_id = jobs.submit_recipe(server, recipe, [*(overrides or ()), *flags], run_dir, python, own)
    print(f"job {job_id} on {server.address}", file=sys.stderr)
    if not follow:
        print(job_id)
        return
    try:
        status = jobs.follow(server, job_id, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(f"the job continues; to stop it: interplay stop {job_id} --address {server.address}", file=sys.stderr)
        raise
    print(f"job {job_id}: {status}", file=sys.stderr)
    if status != "SUCCEEDED":
        raise typer.Exit(1)
