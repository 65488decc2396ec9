"""`interplay generate`: writes problems with questions, gold solutions and graphs (`verifier.graphs.splits`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from cluster.files.problems import Job, Made
    from verifier.graphs.mixture import Mixture

PROBLEMS_PER_PROCESS = 2_000  # below this a second process costs more time to start than it saves
ALL_CORES = 0


class ModeName(StrEnum):
    """Forward asks for a result, reverse for an unknown at the start."""

    FORWARD = "forward"
    REVERSE = "reverse"


class TemplateName(StrEnum):
    """The words of the story."""

    ZOO = "zoo"
    SCHOOL = "school"
    MOVIE = "movie"


class SplitName(StrEnum):
    """One of the disjoint sets of problems; the canonical hash of a problem decides which it is in."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def main(
    out: Annotated[str, typer.Option(help="FILE.jsonl, FILE.jsonl.gz or FILE.parquet; - is standard output.")],
    op: Annotated[int | None, typer.Option(help="Exact number of operations, 2 to 40.")] = None,
    preset: Annotated[str | None, typer.Option(help="A mixture of the paper by name, instead of --op.")] = None,
    mode: Annotated[ModeName | None, typer.Option(help="Default forward; with --preset, only this mode.")] = None,
    template: Annotated[TemplateName | None, typer.Option(help="Default zoo; with --preset, only this one.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many problems.")] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Or how many tokens of training text, by --tokenizer.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A folder with a tokenizer.json, such as a checkpoint.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same bytes.")] = 0,
    split: Annotated[SplitName | None, typer.Option(help="Only problems of this split; default any.")] = None,
    depth: Annotated[int | None, typer.Option(help="2, or 3 for averages as well; not with --preset.")] = None,
    max_facts: Annotated[int | None, typer.Option(help="Most sentences of a problem; distractors give way.")] = None,
    max_answer: Annotated[
        int | None, typer.Option(help="Largest answer of a reverse problem; the reference: 4.")
    ] = None,
    max_constant: Annotated[
        int | None, typer.Option(help="Number range: the constants are 1 to this; default and reference: 4.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 is one a core. The bytes are the same.")] = ALL_CORES,
) -> None:
    """Write problems with their questions, gold solutions and graphs."""
    from cluster.files import problems as problem_files
    from verifier.graphs.mixture import Budget

    amount, unit = _budget(count, tokens, tokenizer)
    mixture = _mixture(op, preset, mode, template, depth)
    mixture = _limited(mixture, max_facts=max_facts, max_answer=max_answer, max_constant=max_constant)
    if tokenizer is not None:
        mixture = problem_files.by_tokens(mixture, tokenizer)
    job = problem_files.Job(mixture, seed, split.value if split else None, Budget(amount, unit), tokenizer)
    made = problem_files.lines(job, _processes(jobs, count))
    number = problem_files.write(out, _with_progress(made, job))
    typer.echo(f"{number} problem{'s' * (number != 1)}", err=True)


def _budget(count: int | None, tokens: int | None, tokenizer: Path | None) -> tuple[int, Literal["problems", "tokens"]]:
    from verifier.errors import UserError

    if (count is None) == (tokens is None):
        raise UserError("the amount is missing or given twice.", "Give either --count or --tokens.")
    if (tokens is None) != (tokenizer is None):
        raise UserError("--tokens and --tokenizer go together.", "Give both, or --count alone.")
    return (count, "problems") if count is not None else (tokens or 0, "tokens")


def _mixture(
    op: int | None, preset: str | None, mode: ModeName | None, template: TemplateName | None, depth: int | None
) -> Mixture:
    from verifier.errors import UserError
    from verifier.graphs.mixture import Cell, Mixture
    from verifier.graphs.presets import preset as preset_of

    if (op is None) == (preset is None):
        raise UserError("the kind of problem is missing or given twice.", "Give either --op or --preset.")
    if preset is not None:
        if depth is not None:
            raise UserError("a preset sets its own depths.", "Leave --depth out, or give --op instead of --preset.")
        return preset_of(preset).only(mode.value if mode else None, template.value if template else None)
    chosen = (mode or ModeName.FORWARD).value, (template or TemplateName.ZOO).value
    return Mixture((Cell(op or 0, *chosen, share=1.0, depth=depth or 2),))


def _limited(mixture: Mixture, **limits: int | None) -> Mixture:
    return replace(mixture, **{name: limit for name, limit in limits.items() if limit is not None})


def _processes(jobs: int, count: int | None) -> int:
    if jobs != ALL_CORES:
        return jobs
    cores = len(os.sched_getaffinity(0))
    return cores if count is None else min(cores, -(-count // PROBLEMS_PER_PROCESS))


def _with_progress(made: Iterable[Made], job: Job) -> Iterator[Made]:
    """The same problems, with a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield from made
        return
    with typer.progressbar(length=job.budget.amount, label=job.budget.unit, file=sys.stderr) as bar:
        for item in made:
            yield item
            bar.update(item.cost)
