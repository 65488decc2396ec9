"""`interplay compare`: shows two or more runs side by side."""

from __future__ import annotations

from typing import Annotated

import typer


def main(
    runs: Annotated[
        list[str], typer.Argument(help="Names or folders of two runs or more; the others are compared with the first.")
    ],
    html: Annotated[str | None, typer.Option(help="Write one HTML page there as well, with curves.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Compare runs: what their recipes differ in, bands with paired intervals, curves, costs, findings.

    Runs that were not evaluated on the same problems are refused.
    """
    import json as json_text

    from cluster.compare.content import content
    from cluster.compare.runs import compared
    from cluster.compare.text import show
    from cluster.files import jsonl

    found = content(compared(runs))
    if html is not None:
        from cluster.compare.page import page  # matplotlib takes a second to import, and only this needs it

        with jsonl.writing(html) as write:
            write(page(found).encode())
    if json:
        typer.echo(json_text.dumps(found))
    else:
        show(found)
