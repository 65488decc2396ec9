"""How many problems a second one core makes: every op, mode and template, each told in full.

    python -m benchmarks.generator --problems 400

Prints a Markdown table of problems per second of processor time (robust against what else the machine does) and the
slowest cell; exit code 1 where that is under the bar.
"""

from __future__ import annotations

import argparse
import sys
import time

from verifier.graphs.generate import generate
from verifier.graphs.problem import MODES, TEMPLATES, Mode, ProblemSpec, Template

BAR = 3000.0
OPS = range(2, 21)


def rate(op: int, mode: Mode, template: Template, depth: int, problems: int) -> float:
    """Problems per second of processor time in one cell."""
    spec = ProblemSpec(op, mode, template, depth)
    start = time.process_time()
    for seed in range(problems):
        generate(spec, seed)
    return problems / (time.process_time() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=400, help="per cell")
    parser.add_argument("--depth", type=int, choices=(2, 3), default=2)
    arguments = parser.parse_args()
    columns: list[tuple[Mode, Template]] = [(mode, template) for mode in MODES for template in TEMPLATES]
    print("| op | " + " | ".join(f"{mode} {template}" for mode, template in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    slowest = float("inf")
    for op in OPS if arguments.depth == 2 else range(4, 21):
        rates = [rate(op, mode, template, arguments.depth, arguments.problems) for mode, template in columns]
        slowest = min(slowest, *rates)
        print(f"| {op} | " + " | ".join(f"{number:,.0f}" for number in rates) + " |")
    print(f"\nslowest cell: {slowest:,.0f}/s, bar: {BAR:,.0f}/s")
    sys.exit(slowest < BAR)


if __name__ == "__main__":
    main()
