"""`interplay rollouts`: shows what an RL stage drew and how it was judged."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from actors.rollouts.query import Query, Status


class Format(StrEnum):
    """How rollouts are shown."""

    TABLE = "table"
    JSONL = "jsonl"
    TRACE = "trace"


def main(
    run: Annotated[str, typer.Argument(help="Name or folder of the run.")],
    stage: Annotated[str | None, typer.Option(help="An RL stage. (default: all)")] = None,
    step: Annotated[int | None, typer.Option(min=1, help="A learner step. (default: all, the newest first)")] = None,
    stratum: Annotated[str, typer.Option(metavar="AXIS=VALUE,...", help="A stratum, by some of its axes.")] = "",
    status: Annotated[
        Status | None, typer.Option(help="Verified, only the answer right, wrong, or cut off at max_tokens.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most rollouts. (default: table 20, trace 1, jsonl all)")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="A line each, all columns, or the text in colour.")] = (
        Format.TABLE
    ),
    judge_again: Annotated[
        bool, typer.Option("--judge-again", help="Judge all of them again instead; exit code 1 if one differs.")
    ] = False,
) -> None:
    """Show the rollouts that a run kept.

    docs/rollouts.md says what is kept, and how pandas and DuckDB read it.
    """
    from actors.rollouts.reading import kept
    from cluster.run.folder import find_run
    from cluster.run.results import rollouts

    folder = find_run(run)
    if stage is not None:
        rollouts.require_stage(folder, stage)
    rows = rollouts.rows(kept(folder.path, stage, step), Query(rollouts.axes_of(stratum), status))
    if judge_again:
        if rollouts.judge_again(folder, rows):
            raise typer.Exit(1)
        return
    match form:
        case Format.TABLE:
            rollouts.show_table(rows, limit or 20)
        case Format.JSONL:
            rollouts.write_lines(rows, limit)
        case Format.TRACE:
            rollouts.show_traces(folder, rows, limit or 1)
