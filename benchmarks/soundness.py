"""How many generated problems an independent reading of their words confirms: the whole grid, several processes.

    python -m benchmarks.soundness --problems 1000000 --jobs 2

Prints one line per mode and depth, and every disagreement with what makes the problem again. Exit code 1 if there is
any.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from verifier.graphs.generate import generate
from verifier.graphs.problem import MODES, TEMPLATES, ProblemSpec
from verifier.graphs.solver.proof import disagreement

OPS = range(2, 41)
DEPTHS = (2, 3)
SMALLEST_AT_DEPTH_3 = 4
GRID = tuple(
    ProblemSpec(op=op, mode=mode, template=template, depth=depth)
    for op, mode, template, depth in itertools.product(OPS, MODES, TEMPLATES, DEPTHS)
    if depth == 2 or op >= SMALLEST_AT_DEPTH_3
)


def check_cell(spec: ProblemSpec, seeds: range) -> tuple[ProblemSpec, int, list[str]]:
    """One cell of the grid: the spec, the number of problems checked, and the disagreements in words."""
    faults: list[str] = []
    for seed in seeds:
        fault = disagreement(generate(spec, seed))
        if fault is not None:
            faults.append(f"{spec} seed {seed}: {fault}")
    return spec, len(seeds), faults


def run(problems: int, jobs: int, first_seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Check at least `problems` problems, equally many in each cell; counts by mode and depth, and disagreements."""
    per_cell = -(-problems // len(GRID))
    seeds = [range(first_seed, first_seed + per_cell)] * len(GRID)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for spec, count, found in pool.map(check_cell, GRID, seeds):
            counts[f"{spec.mode} depth {spec.depth}"] += count
            faults += found
    return counts, faults


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--problems", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    start = time.monotonic()
    counts, faults = run(args.problems, args.jobs, args.first_seed)
    seconds = time.monotonic() - start
    print("\n".join(faults[:100]))
    for cell, count in sorted(counts.items()):
        print(f"{cell:18} {count:>9,} problems")
    total = counts.total()
    speed = f"{seconds:.1f} s, {total / seconds:,.0f}/s on {args.jobs} processes"
    print(f"{total:,} problems, {len(faults)} disagreements, {speed}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
