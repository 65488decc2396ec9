"""`interplay doctor`: prints what `cluster.doctor` found, or what a recipe needs of a GPU, as a table."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cluster.commands.options import Overrides
from verifier.errors import UserError


def main(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe: its memory on a GPU is checked, not this machine.")
    ] = None,
    overrides: Overrides = None,
    card_gib: Annotated[
        float | None,
        typer.Option(min=1, max=1e6, help="Memory of the GPU that the recipe is for. (default: of the GPU here) [GiB]"),
    ] = None,
) -> None:
    """Check this machine and list what is missing, with the fix; or show the memory that a recipe needs on its GPU.

    Exit code 1 if something keeps recipes from running, 2 if the recipe does not fit.
    """
    if recipe is not None:
        _show_memory(recipe, overrides or [], card_gib)
    elif card_gib is not None:
        raise UserError("--card-gib is about a recipe.", "Name one: interplay doctor RECIPE --card-gib 79")
    else:
        _show_machine()


def _show_memory(name: str, overrides: list[str], card_gib: float | None) -> None:
    from cluster.ray.resources import GIB, Card, smallest_card
    from cluster.recipe.cards import card_plans, require_cards, require_shares, table
    from cluster.recipe.load import load

    recipe = load(name, overrides)
    require_shares(recipe)
    if not card_plans(recipe):
        typer.echo(f"{recipe.name} uses no GPU")
        return
    card = Card(int(card_gib * GIB), bfloat16=True) if card_gib is not None else smallest_card()
    if card is not None:
        require_cards(recipe, card.memory, card.bfloat16)
    typer.echo(table(recipe, card.memory if card is not None else None))


def _show_machine() -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from cluster.doctor import judge, look

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    findings = judge(look(os.environ))
    table = Table(box=None, pad_edge=False)
    for title in ("what", "status", "found"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        status = f"[{colours[finding.status]}]{finding.status}[/]"
        fix = f"\n[bold]fix:[/] {escape(finding.fix)}" if finding.fix else ""
        table.add_row(finding.name, status, escape(finding.detail) + fix)
    Console().print(table)
    if any(f.status == "fail" for f in findings):
        raise typer.Exit(1)
