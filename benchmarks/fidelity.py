"""Compares the structure of our problems with the reference's, cell by cell, as a Markdown table.

Usage: python -m benchmarks.fidelity [--samples 600] [--conformance FOLDER] [--out docs/tasks-fidelity.md]
Writes over the tables between the markers of the file, or prints them. Not a test: judgement is with the reader.
"""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from benchmarks.reference_traces import TEMPLATE, read, rows
from verifier.graphs.generate import generate
from verifier.graphs.graph import depths
from verifier.graphs.problem import (
    MODES,
    REFERENCE_MAX_ANSWER,
    TEMPLATES,
    Graph,
    Mode,
    Operation,
    Problem,
    ProblemSpec,
    Template,
)

ROOT = Path(__file__).resolve().parent.parent
BANDS = ((2, 2), (3, 4), (5, 7), (8, 10), (11, 14), (15, 16), (17, 20))
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
_SENTENCE_END = re.compile(r"\.(?: |$)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One problem of either source: its cell and its texts, and its graph without distractors."""

    op: int
    mode: Mode
    template: Template
    depth: int
    problem: str
    question: str
    solution: str
    answer: int
    graph: Graph


def reference_samples(folder: Path) -> list[Sample]:
    """The conformance problems; the ill-posed ones are left out, as we do not make such."""
    samples: list[Sample] = []
    for row in rows(folder):
        if any(quirk.startswith("ill_posed") for quirk in row.get("quirk", ())):
            continue
        mode: Mode = "forward" if row["mode"] == "normalforward" else "reverse"
        texts = (row["problem"].strip(), row["question"].strip(), row["solution"].strip())
        cell = (row["op"], mode, TEMPLATE[row["template"]], row["d"])
        samples.append(Sample(*cell, *texts, int(row["answer"]), read(row).graph))
    return samples


def our_samples(ops: Iterable[int], depth: int, per_cell: int) -> list[Sample]:
    """`per_cell` problems for each op, mode and template, with the reference's range of answers."""
    samples: list[Sample] = []
    for op in ops:
        for mode in MODES:
            for template in TEMPLATES:
                spec = ProblemSpec(op, mode, template, depth, max_answer=REFERENCE_MAX_ANSWER)
                samples += [_sample(generate(spec, seed)) for seed in range(per_cell)]
    return samples


def _sample(problem: Problem) -> Sample:
    spec, graph = problem.spec, problem.graph
    bare = Graph(graph.needed, (), graph.query, graph.given)
    texts = (problem.problem, problem.question, problem.solution)
    return Sample(spec.op, spec.mode, spec.template, spec.depth, *texts, problem.answer, bare)


def _longest_chain(graph: Graph) -> int:
    """The number of quantities on the longest chain among those that the solution needs."""
    depth = depths(graph)
    return 1 + max(depth[quantity.name] for quantity in graph.needed)


def _fan_in(graph: Graph) -> int:
    return max(len(quantity.parents) for quantity in graph.needed)


def _fan_out(graph: Graph) -> int:
    return max(Counter(parent for quantity in graph.needed for parent in quantity.parents).values(), default=0)


def _distractors(sample: Sample) -> int:
    implicit = (Operation.TOTAL, Operation.WEIGHTED_TOTAL)
    told = sum(quantity.operation not in implicit for quantity in sample.graph.needed)
    return len(_SENTENCE_END.findall(sample.problem)) - told - (sample.mode == "reverse")


MEASURES: dict[str, Callable[[Sample], float]] = {
    "quantities": lambda sample: len(sample.graph.needed),
    "longest chain": lambda sample: _longest_chain(sample.graph),
    "fan-in": lambda sample: _fan_in(sample.graph),
    "fan-out": lambda sample: _fan_out(sample.graph),
    "distractors": _distractors,
    "problem+question": lambda sample: len(sample.problem) + 1 + len(sample.question),
    "solution": lambda sample: len(sample.solution),
}


def structure_table(theirs: Sequence[Sample], ours: Sequence[Sample], key: Callable[[Sample], object]) -> list[str]:
    """One line a group: the mean of every measure, reference / ours."""
    lines = ["| | n | " + " | ".join(MEASURES) + " |", "|---" * (2 + len(MEASURES)) + "|"]
    for group in sorted({key(sample) for sample in theirs}, key=str):
        left = [sample for sample in theirs if key(sample) == group]
        right = [sample for sample in ours if key(sample) == group]
        cells = [
            f"{mean(map(measure, left)):.{_digits(name)}f} / {mean(map(measure, right)):.{_digits(name)}f}"
            for name, measure in MEASURES.items()
        ]
        lines.append(f"| {group} | {len(left)} / {len(right)} | {' | '.join(cells)} |")
    return lines


def _digits(name: str) -> int:
    return 0 if name in ("problem+question", "solution") else 1


def answer_table(theirs: Sequence[Sample], ours: Sequence[Sample], key: Callable[[Sample], object]) -> list[str]:
    """One line a group: share of the commonest answer, median and largest answer, reference / ours."""
    lines = ["| | commonest | median | 90th percentile | largest |", "|---|---|---|---|---|"]
    for group in sorted({key(sample) for sample in theirs}, key=str):
        cells: list[list[str]] = []
        for source in (theirs, ours):
            answers = sorted(sample.answer for sample in source if key(sample) == group)
            top = Counter(answers).most_common(1)[0][1] / len(answers)
            cells.append(
                [f"{top:.0%}", f"{median(answers):.0f}", str(answers[len(answers) * 9 // 10]), str(answers[-1])]
            )
        joined = [f"{left} / {right}" for left, right in zip(*cells, strict=True)]
        lines.append(f"| {group} | {' | '.join(joined)} |")
    return lines


def operation_table(theirs: Sequence[Sample], ours: Sequence[Sample]) -> list[str]:
    """Share of every sentence form among the needed quantities, reference / ours, by mode."""
    lines = ["| form | " + " | ".join(MODES) + " |", "|---|---|---|"]
    for operation in Operation:
        cells = [f"{_share(theirs, mode, operation):.1%} / {_share(ours, mode, operation):.1%}" for mode in MODES]
        lines.append(f"| {operation.value} | {' | '.join(cells)} |")
    return lines


def _share(samples: Sequence[Sample], mode: Mode, operation: Operation) -> float:
    needed = [quantity for sample in samples if sample.mode == mode for quantity in sample.graph.needed]
    return sum(quantity.operation is operation for quantity in needed) / len(needed)


def band(sample: Sample) -> str:
    """The mode and the band of ops that a sample belongs to."""
    low, high = next(edge for edge in BANDS if edge[0] <= sample.op <= edge[1])
    return f"{sample.mode}, op {low:>2}-{high:>2}" if low < high else f"{sample.mode}, op {low:>2}"


def report(folder: Path, per_cell: int) -> str:
    """All tables."""
    theirs = reference_samples(folder)
    flat = [sample for sample in theirs if sample.depth == 2]
    deep = [sample for sample in theirs if sample.depth == 3]
    our_flat = our_samples(range(2, 21), 2, per_cell)
    our_deep = our_samples((4, 8, 12, 16), 3, per_cell)

    def by_op(sample: Sample) -> str:
        return f"{sample.mode}, op {sample.op:>2}"

    parts = [
        ["### Depth 2, by op and mode (means)", "", *structure_table(flat, our_flat, by_op)],
        ["### Depth 2, by template and mode (means)", "", *structure_table(flat, our_flat, _by_template)],
        ["### Depth 3, by op and mode (means)", "", *structure_table(deep, our_deep, by_op)],
        ["### Answers, depth 2", "", *answer_table(flat, our_flat, band)],
        ["### Sentence forms of needed quantities, depth 2", "", *operation_table(flat, our_flat)],
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def _by_template(sample: Sample) -> str:
    return f"{sample.mode}, {sample.template}"


def main() -> None:
    """Print the tables or put them into a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("INTERPLAY_CONFORMANCE", str(ROOT.parent / "shared" / "conformance"))
    parser.add_argument("--conformance", type=Path, default=Path(default))
    parser.add_argument("--samples", type=int, default=200, help="of our problems, per op, mode and template")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tables = report(arguments.conformance, arguments.samples)
    if arguments.out is None:
        print(tables)
        return
    head, _, rest = arguments.out.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    arguments.out.write_text(f"{head}{BEGIN}\n\n{tables}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
