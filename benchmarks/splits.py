"""Proves on a long stream that no test problem is in training, by a key taken from the words alone.

    python -m benchmarks.splits --problems 1000000 --jobs 2

The key knows nothing of graphs, canonical hashes, letters or seeds: the question and the set of sentences, each with
its operands in alphabetical order. Two training streams of different seeds are walked; the test set holds problems of
every cell. Exit code 1 where a key of the test set turns up in training.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from hashlib import blake2b
from itertools import islice
from multiprocessing import get_context

from verifier.graphs.problem import Problem
from verifier.graphs.splits import PRESETS, problems_for_eval, stream
from verifier.task import Split

PRESET = "id2-10_uniform"
PART = 5000
_OPERANDS = re.compile(r",? and the |, the | equals (?:the )?")


def key(problem: Problem) -> bytes:
    """What two problems share exactly when their words state the same facts and ask the same."""
    sentences = problem.problem.rstrip(".").split(". ")
    facts = sorted("|".join(sorted(_OPERANDS.split(sentence))) for sentence in sentences)
    return blake2b("\n".join([problem.question, *facts]).encode(), digest_size=16).digest()


def keys(seed: int, split: Split, start: int, count: int) -> set[bytes]:
    """The keys of a part of a stream."""
    return {key(problem) for problem in islice(stream(PRESETS[PRESET], seed, split, start), count)}


def main() -> None:
    """Walk the streams and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=1_000_000, help="of the training streams, in all")
    parser.add_argument("--tests", type=int, default=300, help="test problems per op")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    begin = time.monotonic()
    sets = problems_for_eval(PRESETS[PRESET], arguments.tests, seed=0)
    test = {key(problem) for problems in sets.values() for problem in problems}
    parts = [(index % 2, index // 2 * PART) for index in range(arguments.problems // PART)]
    found: set[bytes] = set()
    distinct: set[bytes] = set()
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(keys, seed, "train", start, PART) for seed, start in parts]
        for number, future in enumerate(futures, 1):
            part = future.result()
            found |= part & test
            distinct |= part
            if number % 10 == 0:
                print(f"{number * PART:,} walked, {len(found)} in both", file=sys.stderr, flush=True)
    print(
        f"{len(parts) * PART:,} training problems of {PRESET} ({len(distinct):,} distinct), "
        f"{len(test):,} test problems, {len(found)} in both, {time.monotonic() - begin:.0f} s"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
