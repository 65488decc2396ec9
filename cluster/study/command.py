"""What `interplay study` does with a plan: prints it, or runs it and prints the outcome of the claims."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.recipe.base import check
from cluster.recipe.config import BaseStage
from cluster.run.lock import held
from cluster.study.folder import FAILURE_FILE, Registration, State, StudyFolder
from cluster.study.load import StudyError
from cluster.study.page import write_study
from cluster.study.plan import Run
from trainers.evaluation.ledger import StageRecord

if TYPE_CHECKING:
    from cluster.study.costs import Cost

PLAN_WIDTH: Final = 120


def show_plan(folder: StudyFolder, runs: Sequence[Run], local: bool) -> None:
    """Print every stage that has to be run, with the runs that share it, its size, and whether it is done.

    Raises NotEnough if a study without a cluster does not fit on this machine, and StudyError for a changed folder.
    """
    from cluster.study.costs import costs  # these load model code
    from cluster.study.schedule import require_room

    if local:
        require_room(runs)
    folder.refuse_changed(runs)
    at_hand = folder.at_hand(runs)
    _require_bases(at_hand)
    stages = costs(folder, at_hand)
    table = Table(box=None, pad_edge=False)
    for column in ("run", "stage", "shared by", "texts", "tokens", "FLOPs", "minutes", ""):
        table.add_column(column, justify="left" if column in ("run", "stage", "") else "right")
    for cost in stages:
        users = str(len(cost.run.members)) if cost.run.shared else ""
        table.add_row(
            cost.run.name,
            cost.stage.name,
            users,
            f"{cost.texts:,}",
            "?" if cost.tokens is None else f"{cost.tokens:,.0f}",
            "?" if cost.flops is None else f"{cost.flops:.2e}",
            "?" if cost.seconds is None else f"{cost.seconds / 60:.1f}",
            "done" if cost.done else "",
        )
    Console(file=sys.stdout, highlight=False, width=PLAN_WIDTH).print(table)
    left = [cost for cost in stages if not cost.done]
    print(f"{len(left)} of {len(stages)} stages are left; one run at a time: {_minutes(left)}")


def _minutes(left: Sequence[Cost]) -> str:
    """The time that stages take one after another, as far as it is known."""
    known = [cost.seconds for cost in left if cost.seconds is not None]
    said = f"{sum(known) / 60:.0f} minutes"
    if len(known) == len(left):
        return said
    unknown = "unknown until a stage of the kind has run (?)"
    return f"{said}, and the stages whose time is {unknown}" if any(known) else f"the time is {unknown}"


def conduct(
    folder: StudyFolder,
    given: Registration,
    runs: Sequence[Run],
    *,
    resume: bool,
    address: str | None,
    insecure: bool,
    wait_s: float,
) -> bool:
    """Register the study, run what is not done, write the report, print the claims; whether every run is done.

    Whatever is refused is refused before the study is registered. Raises StudyError if the folder holds a study and
    `resume` is false, or if it holds another study or recipe; RecipeError for a budget of less than a step; NoModel;
    and the errors of `perform`.
    """
    from cluster.study.costs import budgets  # these load model code
    from cluster.study.schedule import perform

    console = Console(file=sys.stderr, highlight=False)
    if folder.exists() and not resume:
        raise StudyError(f"{folder.path} holds a study already.", "Add --resume to continue it, or name another --dir.")
    folder.refuse_other(given)
    folder.refuse_changed(runs)
    at_hand = folder.at_hand(runs)
    _require_bases(at_hand)
    budgets(at_hand)
    with held(folder.path):

        def begin() -> None:
            folder.register(given)
            for line in folder.amendments():
                console.print(f"changed since the first run: {escape(line)}", soft_wrap=True)
            done = {run.name for run in runs if folder.standing(run).state is State.DONE}
            console.print(f"[bold]{given.study.name}[/bold]  {len(runs)} runs, {len(done)} done before")

        def tell(run: Run, what: StageRecord | str) -> None:
            said = what if isinstance(what, str) else f"{what.name:<12} {what.seconds:8.1f} s"
            console.print(f"  {run.name:<28} {escape(said)}", soft_wrap=True)

        try:
            perform(folder, runs, begin, tell, address, insecure, wait_s)
        except KeyboardInterrupt:
            if folder.exists():
                report(folder)
            raise
        report(folder)
    return all(folder.standing(run).state is State.DONE for run in runs)


def _require_bases(runs: Sequence[Run]) -> None:
    """Raises NoModel if a run starts from a base that does not exist."""
    for base in {stage.base for run in runs for stage in run.recipe.stages if isinstance(stage, BaseStage)}:
        check(base)


def show_standings(folder: StudyFolder, as_json: bool) -> None:
    """Print the state of each arm at each seed, and of the shared runs, for a person or a program."""
    plan = folder.current().plan()
    standings = {run.name: _standing(folder, run) for run in plan.runs}
    if as_json:
        print(json.dumps(standings))
        return
    seeds = [str(seed) for seed in plan.study.seeds]
    table = Table("arm", *(f"seed {seed}" for seed in seeds), box=None, pad_edge=False)
    for name in (run.name for run in plan.runs if run.shared):
        table.add_row(name, standings[name])
    for arm in plan.study.arms:
        table.add_row(arm, *(standings[f"{arm}/{seed}"] for seed in seeds))
    Console(file=sys.stdout, highlight=False).print(table)


def _standing(folder: StudyFolder, run: Run) -> str:
    """The state of a run; for one that is running, its stage."""
    standing = folder.standing(run)
    stage = standing.stage(run) if standing.state is State.RUNNING else None
    return stage or standing.state.value


def report(folder: StudyFolder) -> None:
    """Write study.json and study.html from the runs so far, and print the outcome of each claim."""
    console = Console(file=sys.stdout, highlight=False, markup=False)
    content = write_study(folder)
    for claim in content["claims"]:
        missing = f" ({len(claim['missing'])} runs missing)" if claim["missing"] else ""
        console.print(f"  {claim['verdict']:<13}{claim['name']}: {claim['says']}{missing}", soft_wrap=True)
    if len(content["seeds"]) == 1:
        console.print("  one seed decides no claim", soft_wrap=True)
    for arm, of in content["arms"].items():
        for seed, run in of["runs"].items():
            if run["failure"]:
                where = folder.path / arm / seed / FAILURE_FILE
                console.print(f"  failed       {arm}/{seed}: {where}", soft_wrap=True)
    console.print(f"report: {folder.path / 'study.html'}", soft_wrap=True)
