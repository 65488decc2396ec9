"""The kept rollouts of a run for a person: as a table, as JSON lines, as judged texts in colour, and judged again."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.rollouts.query import Query, Status
from actors.rollouts.reading import DamagedPart, Part
from actors.rollouts.table import StoredRollout
from cluster.files import jsonl, trace_view
from cluster.recipe.config import RlStage
from cluster.run.folder import RunFolder
from verifier.errors import UserError
from verifier.families import open_task
from verifier.judgement import TraceJudgement, to_record
from verifier.task import Task, item_at, prompt_text


def axes_of(stratum: str) -> dict[str, str]:
    """The axes of "op=4,mode=forward", or of a stratum's whole name. Raises UserError."""
    parts = [part.partition("=") for part in stratum.replace(",", " ").split()]
    if not all(axis and value for axis, _, value in parts):
        raise UserError(f"--stratum {stratum} is not AXIS=VALUE.", "Write it like op=4 or op=4,mode=forward.")
    return {axis: value for axis, _, value in parts}


def require_stage(folder: RunFolder, name: str) -> None:
    """Raises UserError unless an RL stage of the run has this name."""
    names = [stage.name for stage in folder.recipe().stages if isinstance(stage, RlStage)]
    if name not in names:
        raise UserError(f"{folder.name} has no RL stage {name}.", f"Its RL stages: {', '.join(names) or 'none'}.")


def rows(parts: Sequence[Part], query: Query) -> Iterator[StoredRollout]:
    """The rows that are asked for, part by part; of a damaged part only a warning."""
    for part in parts:
        try:
            found = part.read()
        except DamagedPart as error:
            typer.echo(f"warning: {error.message} {error.fix}", err=True)
            continue
        yield from filter(query.fits, found)


def show_table(found: Iterable[StoredRollout], limit: int) -> None:
    """One line a rollout."""
    columns = ("step", "slot", "stratum", "status", "reward", "process", "tokens", "versions", "trained", "text")
    table = Table(*columns, box=None, pad_edge=False)
    for row in islice(found, limit):
        table.add_row(*_cells(row))
    Console(file=sys.stdout, highlight=False, markup=False).print(table)


def _cells(row: StoredRollout) -> list[str | Text]:
    judged = row.judgement
    versions = {row.first_weight_version, row.weight_version}
    return [
        str(row.step),
        f"{row.place}.{row.attempt}.{row.sample}",
        trace_view.one_line(row.stratum),
        Status.of(row).value,
        f"{row.reward:.2f}",
        f"{judged.process_accuracy:.2f}" if isinstance(judged, TraceJudgement) else "",
        str(len(row.completion_ids)),
        "-".join(map(str, sorted(versions))),
        "yes" if row.trained else "no",
        Text(trace_view.one_line(row.text), no_wrap=True, overflow="ellipsis"),
    ]


def write_lines(found: Iterable[StoredRollout], limit: int | None) -> None:
    """A JSON object a rollout, with all that is stored."""
    with jsonl.writing(jsonl.PIPE) as write:
        for row in islice(found, limit):
            write(jsonl.encode({**asdict(row), "judgement": to_record(row.judgement)}))


def show_traces(folder: RunFolder, found: Iterable[StoredRollout], limit: int) -> None:
    """Prompt and judged text of each, in colour."""
    tasks = _Tasks(folder)
    for row in islice(found, limit):
        asked = prompt_text(item_at(tasks.of(row.stage), row.address).prompt)
        head = f"step {row.step}, slot {row.place}.{row.attempt}, completion {row.sample}: {Status.of(row).value}"
        typer.echo(typer.style(f"{head}, reward {row.reward:g}", bold=True))
        typer.echo(trace_view.wrapped(asked) + "\n")
        typer.echo(trace_view.render(row.text, row.judgement))


def judge_again(folder: RunFolder, found: Iterable[StoredRollout]) -> int:
    """Judge each text as the recipe's task does now; how many judgements differ from what was stored."""
    tasks = _Tasks(folder)
    judged = differing = 0
    for row in found:
        judged += 1
        task = tasks.of(row.stage)
        if to_record(task.judge(item_at(task, row.address), row.text)) != to_record(row.judgement):
            differing += 1
            slot = f"{row.place}.{row.attempt}.{row.sample}"
            typer.echo(f"differs: stage {row.stage}, step {row.step}, slot {slot} ({row.stratum})")
    typer.echo(f"judged {judged} again, {differing} differ")
    return differing


class _Tasks:
    """The tasks of a run's RL stages, opened as they are needed: a user's own task is code."""

    def __init__(self, folder: RunFolder) -> None:
        self._configs = {s.name: s.rl.task for s in folder.recipe().stages if isinstance(s, RlStage)}
        self._open: dict[str, Task] = {}

    def of(self, stage: str) -> Task:
        """The task of a stage."""
        if stage not in self._open:
            self._open[stage] = open_task(self._configs[stage])
        return self._open[stage]
