"""Texts judged per second on one core, strict and reference mode, over gold and spoiled traces of op 2 to 20.

    python benchmarks/verifier.py [REPEATS]

The gold side is prepared once, as the reward workers do. Letters are permuted in every text, so that no two are alike.
The time is processor time of this process, the best of the repeats: a busy machine is not the verifier's doing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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


def main(repeats: int) -> None:
    """Print a small table."""
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


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
