"""`interplay status`: shows what a live run is doing."""

from __future__ import annotations

from typing import Annotated

import typer


def main(
    run: Annotated[str, typer.Option(help="Name or folder of the run.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Show what a live run is doing: its stage, its workers and their states, its last numbers."""
    from cluster.run.client import live_run, show

    with live_run(run) as controller:
        show(controller.status(), as_json=json)
