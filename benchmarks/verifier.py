"""Texts judged per second on one core, strict and reference mode, over gold and spoiled traces of op 2 to 20; the
milliseconds of the slowest 100 kB of hostile text; the seconds that importing the whole package takes.

    python -m benchmarks.verifier [--repeats 5]

The gold side is prepared once, as the reward workers do. Letters are permuted in every text, so that no two are alike.
The time is processor time of this process, the best of the repeats: a busy machine is not the verifier's doing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from random import Random

from tests.unit.verifier.graphs.judge.test_hostile import GOLD, PATTERNS, PROBLEM, hostile
from tests.unit.verifier.graphs.spoiled import CORRUPTIONS, answered, body_of, gold_of, made, relettered
from verifier.graphs.judge.judge import verify
from verifier.graphs.original.judge import judge
from verifier.graphs.problem import MODES, TEMPLATES


def rate(judgements: list[Callable[[], object]], repeats: int) -> float:
    """Judgements per second of processor time."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        for judgement in judgements:
            judgement()
        best = min(best, time.process_time() - start)
    return len(judgements) / best


IMPORTS = """
import importlib, pkgutil, time, verifier
names = [module.name for module in pkgutil.walk_packages(verifier.__path__, "verifier.")]
start = time.process_time()
for name in names:
    importlib.import_module(name)
print(time.process_time() - start)
"""


def import_seconds(repeats: int) -> float:
    """Processor time of importing every module in a fresh process, the best of the repeats; the first one compiles."""
    command = [sys.executable, "-c", IMPORTS]
    return min(
        float(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout) for _ in range(repeats + 1)
    )


def slowest_hostile(judgement: Callable[[str], object], repeats: int) -> float:
    """Milliseconds that the slowest pattern of hostile text takes, 100 kB of it."""
    texts = [hostile(name, 100_000) for name in PATTERNS]
    return max(1e3 / rate([lambda text=text: judgement(text)], repeats) for text in texts)


def main() -> None:
    """Print a small table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    rng = Random(0)  # noqa: S311 - test texts, not secrets
    problems = [
        made(op, mode, template, seed)
        for op in range(2, 21)
        for mode in MODES
        for template in TEMPLATES
        for seed in range(3)
    ]
    pairs = [(problem, relettered(body_of(problem), rng)) for problem in problems for _ in range(4)]
    right = [(problem, answered(body, problem.answer)) for problem, body in pairs]
    spoiled = [(problem, answered(rng.choice(CORRUPTIONS)(body, rng), problem.answer)) for problem, body in pairs]
    for label, texts in (("right", right), ("one corruption", spoiled)):
        golds = [(text, gold_of(problem)) for problem, text in texts]
        solutions = [(text, problem.solution) for problem, text in texts]
        strict = rate([lambda text=text, gold=gold: verify(text, gold) for text, gold in golds], repeats)
        reference = rate([lambda text=text, gold=gold: judge(text, gold) for text, gold in solutions], repeats)
        print(f"{label:16} {len(texts):6} texts   strict {strict:8.0f}/s   reference {reference:8.0f}/s")
    strict = slowest_hostile(lambda text: verify(text, GOLD), repeats)
    reference = slowest_hostile(lambda text: judge(text, PROBLEM.solution), repeats)
    print(f"hostile 100 kB   {len(PATTERNS):6} patterns   strict {strict:6.0f} ms   reference {reference:6.0f} ms")
    print(f"import of all modules {import_seconds(repeats):.2f} s")


if __name__ == "__main__":
    main()
