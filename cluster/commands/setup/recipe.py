"""`interplay recipe`: lists the keys of recipes, shows a recipe, or checks one. Nothing is started."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.commands.options import Overrides, Recipe

main = typer.Typer(
    help="List the keys of recipes, show a recipe, or check one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@main.command()
def keys(
    text: Annotated[str, typer.Argument(help="Only keys whose path or choices hold this: engine, clip, cispo.")] = "",
) -> None:
    """List the keys of recipes: the allowed values of each, its default, its unit and its meaning.

    A stage is listed by its kind (`stages.rl`), which is also the name of a stage that is given none.
    """
    from cluster.recipe.keys import holding
    from verifier.errors import UserError

    found = holding(text)
    if not found:
        raise UserError(f"no key holds {text!r}.", "Leave it out, to see all of them.")
    for key in found:
        typer.echo(key.text())


@main.command()
def show(
    recipe: Recipe,
    overrides: Overrides = None,
) -> None:
    """Print a recipe as a run reads it: every key, with the defaults filled in."""
    from cluster.recipe.load import dump, load

    typer.echo(dump(load(recipe, overrides or ())), nl=False)


@main.command()
def check(
    recipe: Recipe,
    overrides: Overrides = None,
) -> None:
    """List every error of a recipe with its key; exit code 2 if there is one."""
    from cluster.recipe.base import missing_bases
    from cluster.recipe.load import faults_in, refusal, tree_of

    tree = tree_of(recipe, overrides or ())
    if lines := [*faults_in(tree), *missing_bases(tree.get("stages"))]:
        raise refusal(f"recipe {recipe}", lines)
    typer.echo(f"{recipe}: no errors; its stages are {', '.join(stage['name'] for stage in tree['stages'])}")
