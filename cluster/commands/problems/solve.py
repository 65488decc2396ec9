"""`interplay solve`: the independent solver on a text; it prints the derivation.

It reads either the text of one problem, with its question at the end, or JSON lines as `generate` writes them. It never
reads a solution.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from verifier.graphs.solver.solve import Derivation, Derived

JSON_START = "{"


def main(
    file: Annotated[
        str, typer.Argument(help='Text or JSON lines with "problem" and "question"; - is standard input.')
    ] = "-",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON record a problem.")] = False,
) -> None:
    """Solve problems from their text alone and print the derivation.

    Exit code 1 where a text has no single answer; the reason and the sentence that causes it are printed.
    """
    from cluster.files import jsonl
    from verifier.graphs.solver.solve import solve

    refused = False
    with jsonl.writing(jsonl.PIPE) as write:
        for index, (problem, question) in enumerate(_texts(file)):
            found = solve(problem, question)
            refused |= not found.well_posed
            if as_json:
                write(jsonl.encode(_record(found)))
            else:
                gap = "\n" if index else ""
                write((gap + _printed(found)).encode("utf-8", "backslashreplace"))
    if refused:
        raise typer.Exit(1)


def _texts(file: str) -> Iterator[tuple[str, str]]:
    """The (problem, question) pairs of the input, which is read as JSON lines if it begins with a brace."""
    import itertools

    from cluster.files import jsonl
    from verifier.graphs.solver.reading import split_text

    with jsonl.open_bytes(file) as opened:
        lines = jsonl.lines(opened, file)
        first = next(lines, b"")
        if first.lstrip().startswith(JSON_START.encode()):
            for _, record in jsonl.records(itertools.chain([first], lines), file, ("problem", "question")):
                yield record["problem"], record["question"]
        else:
            yield split_text((first + jsonl.rest(opened, file)).decode("utf-8", "replace"))


def _printed(found: Derivation) -> str:
    """The derivation as numbered lines, or why there is none."""
    if found.fault is not None:
        lines = [f"no answer: {found.fault.defect.value}: {found.fault.reason}"]
        if found.fault.sentence:
            lines.append(f"  in: {found.fault.sentence}")
        return "\n".join(lines) + "\n"
    numbers = {step.name: number for number, step in enumerate(found.steps, start=1)}
    lines = [_line(step, numbers) for step in found.steps]
    if found.equation is not None:
        equation = found.equation
        lines.append(f"the text gives {equation.subject} = {equation.right}, so {equation.left} = {equation.right}")
    if found.doubt:
        lines.append(f"doubt: {found.doubt}")
    return "\n".join([*lines, f"answer: {found.answer}"]) + "\n"


def _line(step: Derived, numbers: dict[str, int]) -> str:
    """One step, followed by the numbers of the steps that it uses, in brackets."""
    chain = [step.name, step.formula]
    chain += [text for text in (str(step.symbolic),) if text != step.formula]
    uses = f"   [{', '.join(str(numbers[parent]) for parent in step.parents)}]" if step.parents else ""
    value = f"   (x = {step.value})" if step.operation == "unknown" else f"   ({step.value})" if step.symbolic.b else ""
    return f"{numbers[step.name]:3}. {' = '.join(chain)}{uses}{value}"


def _record(found: Derivation) -> dict[str, object]:
    fault, equation = found.fault, found.equation
    return {
        "answer": found.answer,
        "query": found.query,
        "steps": [
            {
                "name": step.name,
                "operation": step.operation.value,
                "parents": list(step.parents),
                "formula": step.formula,
                "symbolic": str(step.symbolic),
                "value": step.value,
                "sentence": step.sentence,
            }
            for step in found.steps
        ],
        "equation": None if equation is None else f"{equation.left} = {equation.right}",
        "fault": None
        if fault is None
        else {"defect": fault.defect.value, "reason": fault.reason, "sentence": fault.sentence},
        "doubt": found.doubt,
    }
