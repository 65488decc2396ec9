"""`interplay study`: runs every arm of a study for every seed, and decides its claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.options import Address, Insecure, Resume, Wait


def main(
    study: Annotated[str, typer.Argument(help="Name of a shipped study, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes to the recipe of every arm.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Folder of the studies and of the stages that they share. (default: studies)"),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="A scale of the study, or a YAML file with one. (default: its first)")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be run, and end.")] = False,
    resume: Resume = False,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ARM", help="Run this arm; repeatable.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Run these of the study's seeds: 0,1,2.")] = None,
    address: Address = None,
    wait_s: Wait = 0,
    insecure: Insecure = False,
) -> None:
    """Run every arm of a study for every seed, and decide the claims that were registered before the first run.

    Stages that arms share are run once. Exit code 0 only if every run finished, whatever the claims' outcome. Ctrl-C
    saves and stops; the same command with --resume continues.
    """
    from cluster.study.command import conduct, show_plan
    from cluster.study.folder import STUDIES, Registration, StudyFolder
    from cluster.study.load import load, scale_of

    chosen = load(study)
    given = Registration(study=chosen, scale=scale_of(chosen, scale), overrides=tuple(overrides or ()))
    folder = StudyFolder(((directory or STUDIES) / chosen.name).resolve())
    folder.refuse_other(given)
    made = given.plan()
    runs = folder.still_needed(made.needed(made.chosen(only, seeds)))
    if plan:
        show_plan(folder, runs, local=address is None)
    elif not conduct(folder, given, runs, resume=resume, address=address, insecure=insecure, wait_s=wait_s):
        raise typer.Exit(1)
