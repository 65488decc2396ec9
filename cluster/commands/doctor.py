"""`interplay doctor`: prints what `cluster.doctor` found, as a table."""

from __future__ import annotations

import os

import typer


def main() -> None:
    """Check this machine and list what is missing, with the fix.

    Exit code 1 if something keeps recipes from running.
    """
    from rich.console import Console
    from rich.table import Table

    from cluster.doctor import judge, look

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    findings = judge(look(os.environ))
    table = Table(box=None, pad_edge=False)
    for title in ("what", "status", "found"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        status = f"[{colours[finding.status]}]{finding.status}[/]"
        table.add_row(finding.name, status, finding.detail + (f"\n[bold]fix:[/] {finding.fix}" if finding.fix else ""))
    Console().print(table)
    if any(f.status == "fail" for f in findings):
        raise typer.Exit(1)
