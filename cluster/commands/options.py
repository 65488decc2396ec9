"""Arguments and options that several commands share."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

Recipe = Annotated[str, typer.Argument(help="Name of a shipped recipe, or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes to the recipe.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run or study in that folder, if there is one.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join. (default: a new one on this machine)")]
Wait = Annotated[
    float, typer.Option("--wait", min=0, help="Seconds that the cluster's autoscaler gets to add missing nodes.")
]
Insecure = Annotated[
    bool,
    typer.Option("--i-accept-that-anyone-on-the-network-can-run-code", help="Use a cluster without authentication."),
]


def tell_asking(run: str) -> None:
    """Say on stderr that the run is asked, before Ray is imported: the answer takes seconds, more on a busy machine."""
    print(f"asking {run} ...", file=sys.stderr, flush=True)
