"""`interplay diagnose`: says what went wrong in the RL stages of a run."""

from __future__ import annotations

from typing import Annotated

import typer


def main(
    run: Annotated[str, typer.Argument(help="Name or folder of the run, live or finished.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON list instead of text.")] = False,
) -> None:
    """Say what went wrong in a run's RL stages, since which step, by which numbers, and which setting to change.

    docs/diagnosis.md has the rules and their thresholds.
    """
    from cluster.run.folder import find_run
    from cluster.run.results.diagnosis import show

    show(find_run(run), as_json=json)
