"""`interplay run`: runs the stages of a recipe that are not done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.options import Address, Insecure, Overrides, Recipe, Resume, Wait


def main(
    recipe: Recipe,
    overrides: Overrides = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the run. (default: runs/NAME)")] = None,
    resume: Resume = False,
    address: Address = None,
    wait_s: Wait = 0,
    insecure: Insecure = False,
) -> None:
    """Run a recipe: tokenizer, pre-training, mid-training, RL, evaluation, report.

    Exit code 0 only if every stage finished. Ctrl-C saves and stops; the same command with --resume continues.
    """
    from cluster.ray.resources import smallest_card
    from cluster.recipe.base import missing_bases
    from cluster.recipe.cards import card_plans, require_cards, require_shares
    from cluster.recipe.load import load, refusal
    from cluster.run.folder import RUNS, RunFolder
    from cluster.run.lock import held
    from cluster.study.load import StudyError, is_study

    if is_study(recipe):
        raise StudyError(f"{recipe} is a study, not a recipe.", f"Run it: interplay study {recipe}")
    resolved = load(recipe, overrides or ())
    folder = RunFolder((run_dir or RUNS / resolved.name).resolve())
    at_hand = folder.at_hand(resolved)
    if lines := missing_bases(at_hand.model_dump()["stages"]):
        raise refusal(f"recipe {recipe}", lines)
    require_shares(at_hand)
    # A cluster's nodes may have other cards than this machine.
    if address is None and card_plans(at_hand) and (card := smallest_card()) is not None:
        require_cards(at_hand, card.memory, card.bfloat16)
    # They load model code, which takes seconds: mistakes are reported before.
    from cluster.run.work.plan import plans
    from cluster.run.work.stages import run_stages

    for plan in plans(resolved) if not folder.stages() else ():
        print(f"  {plan.stage:<12} {plan}", file=sys.stderr)
    with held(folder.path):
        folder.open(resolved, resume)
        run_stages(resolved, folder, address, insecure, wait_s)
