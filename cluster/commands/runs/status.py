"""`interplay status`: shows what a live run is doing, or how far a study is."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.commands.options import tell_asking


def main(
    run: Annotated[str, typer.Argument(help="Name or folder of the run or study.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Show what a live run is doing: its stage, its workers and their states, its last numbers.

    Of a study: the state of each arm and seed.
    """
    tell_asking(run)
    from cluster.run.client import live_run, show
    from cluster.study.folder import find_study

    if (study := find_study(run)) is not None:
        from cluster.study.command import show_standings

        show_standings(study, as_json=json)
        return
    with live_run(run) as controller:
        show(controller.status(), as_json=json)
