"""`interplay verify`: judges texts against their problems, one record for each text, or shows one judged trace.

It joins two files on `pid` and writes judgements; all judging is in `verifier.graphs.judge.judge` and
`verifier.graphs.original.judge`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer


class VerifyMode(StrEnum):
    """Which judge decides."""

    STRICT = "strict"
    REFERENCE = "reference"


def main(
    problems: Annotated[str, typer.Option(help="Records with pid, problem, question and solution; .gz or not.")],
    texts: Annotated[
        str, typer.Option(help="Records with pid and text: what a model wrote; - is standard input.")
    ] = "-",
    out: Annotated[
        str, typer.Option(help="Where the judgements go, one record for each text, in order; - is standard output.")
    ] = "-",
    mode: Annotated[VerifyMode, typer.Option(help="Our judge, or what the original scorer says.")] = VerifyMode.STRICT,
    show: Annotated[
        str | None, typer.Option(help="Show the judged trace of this pid instead of writing records.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="With --show: a file that holds the trace; - is standard input.")
    ] = None,
) -> None:
    """Judge texts step by step.

    Each line of the output judges the same line of the texts. With --show, one trace is printed in colour.
    """
    from verifier.errors import UserError

    if show is not None and mode is VerifyMode.REFERENCE:
        raise UserError("--show is the view of the strict judge.", "Leave --mode out.")
    if show is None and text is not None:
        raise UserError("--text holds the trace of --show.", "Name the problem with --show, or give --texts.")
    if show is None:
        _judge_all(problems, texts, out, mode)
    else:
        _show(problems, show, texts, text)


def _judge_all(problems: str, texts: str, out: str, mode: VerifyMode) -> None:
    from cluster.files import jsonl
    from verifier.errors import UserError

    judges = _judges(problems, mode)
    with jsonl.writing(out) as write:
        for number, row in jsonl.read(texts, ("pid", "text")):
            judge = judges.get(row["pid"])
            if judge is None:
                where = f"{jsonl.shown(texts)}, line {number}"
                raise UserError(
                    f"{where}: no problem has pid {row['pid']!r}.", f"Give the problems of these texts, not {problems}."
                )
            write(jsonl.encode({"pid": row["pid"], **judge(row["text"])}))


def _judges(problems: str, mode: VerifyMode) -> dict[str, Callable[[str], dict[str, Any]]]:
    """For each pid, the function from a text to its record."""
    from cluster.files import jsonl
    from verifier.errors import UserError

    judge_of = _strict if mode is VerifyMode.STRICT else _reference
    judges: dict[str, Callable[[str], dict[str, Any]]] = {}
    for number, row in jsonl.read(problems, ("pid", "problem", "question", "solution")):
        where = f"{jsonl.shown(problems)}, line {number}"
        if row["pid"] in judges:
            raise UserError(f"{where}: pid {row['pid']!r} occurs twice.", "Give each problem a pid of its own.")
        judges[row["pid"]] = judge_of(row, where)
    return judges


def _strict(row: dict[str, Any], where: str) -> Callable[[str], dict[str, Any]]:
    from verifier.graphs.judge.judge import verify

    gold = _gold(row, where)
    return lambda text: verify(text, gold).verify_row()


def _gold(row: dict[str, Any], where: str):
    from verifier.errors import MalformedProblem, UserError
    from verifier.graphs.judge.judge import prepare

    try:
        return prepare(row["problem"], row["question"], row["solution"])
    except MalformedProblem as error:
        fix = "Give the record a gold solution that holds."
        raise UserError(f'{where}, pid {row["pid"]!r}, field "solution": {error}.', fix) from error


def _reference(row: dict[str, Any], _where: str) -> Callable[[str], dict[str, Any]]:
    from verifier.graphs.original.judge import judge

    return lambda text: judge(text, row["solution"]).to_record()


def _show(problems: str, pid: str, texts: str, trace: str | None) -> None:
    from cluster.files import jsonl, trace_view
    from verifier.errors import UserError
    from verifier.graphs.judge.judge import verify

    for number, row in jsonl.read(problems, ("pid", "problem", "question", "solution")):
        if row["pid"] == pid:
            gold = _gold(row, f"{jsonl.shown(problems)}, line {number}")
            break
    else:
        raise UserError(f"{jsonl.shown(problems)}: no problem has pid {pid!r}.", "Name a pid of that file.")
    text = _first_text(texts, pid) if trace is None else _whole(trace)
    typer.echo(trace_view.wrapped(f"{row['problem']} {row['question']}") + "\n")
    typer.echo(trace_view.render(text, verify(text, gold)), nl=False)


def _whole(path: str) -> str:
    from cluster.files import jsonl

    with jsonl.open_bytes(path) as file:
        return jsonl.rest(file, path).decode("utf-8", "replace")


def _first_text(texts: str, pid: str) -> str:
    from cluster.files import jsonl
    from verifier.errors import UserError

    for _, row in jsonl.read(texts, ("pid", "text")):
        if row["pid"] == pid:
            return row["text"]
    raise UserError(f"{jsonl.shown(texts)}: no text has pid {pid!r}.", "Name a pid of that file, or give --text FILE.")
