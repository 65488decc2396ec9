"""Proves on a long stream that no test problem is in training, by a key taken from the words alone.

    python -m benchmarks.splits --problems 1000000 --jobs 2
    python -m benchmarks.splits --problems 1000000 --jobs 2 --task depth-3

The key knows nothing of graphs, canonical hashes, letters or seeds: the question and the set of sentences, each with
its operands in alphabetical order. Two training streams of different seeds are walked, as pre-training
walks them; the test set holds held-out problems of every stratum, as evaluations ask them. Exit code 1 where a key of
the test set turns up in training.
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

from trainers.pretrain.items import training_items
from verifier.graphs.family import GraphsConfig, problem_of
from verifier.graphs.problem import Problem

TASKS = {
    "id2-10_uniform": GraphsConfig(preset="id2-10_uniform"),
    # Totals of several products, and few other sentences, so that the same problem is often drawn again.
    "depth-3": GraphsConfig(ops=(7, 8, 9), depth=3, max_facts=4),
}
PART = 5000
_OPERANDS = re.compile(r",? and the |, the | equals (?:the )?")


def key(problem: Problem) -> bytes:
    """What two problems share whenever their words state the same facts and ask the same."""
    sentences = problem.problem.rstrip(".").split(". ")
    facts = sorted("|".join(sorted(_OPERANDS.split(sentence))) for sentence in sentences)
    return blake2b("\n".join([problem.question, *facts]).encode(), digest_size=16).digest()


def keys(config: GraphsConfig, seed: int, start: int, count: int) -> set[bytes]:
    """The keys of a part of a training stream."""
    return {key(problem_of(item)) for item in islice(training_items(config, seed, start), count)}


def keys_held_out(config: GraphsConfig, count: int) -> set[bytes]:
    """The keys of so many held-out problems of every stratum."""
    task = config.task()
    return {key(problem_of(item)) for stratum in task.strata() for item in task.held_out(stratum, count, seed=0)}


def main() -> None:
    """Walk the streams and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=1_000_000, help="of the training streams, in all")
    parser.add_argument("--tests", type=int, default=150, help="test problems per stratum")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--task", choices=TASKS, default="id2-10_uniform")
    arguments = parser.parse_args()
    config = TASKS[arguments.task]
    begin = time.monotonic()
    test = keys_held_out(config, arguments.tests)
    parts = [(index % 2, index // 2 * PART) for index in range(arguments.problems // PART)]
    found: set[bytes] = set()
    distinct: set[bytes] = set()
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(keys, config, seed, start, PART) for seed, start in parts]
        for number, future in enumerate(futures, 1):
            part = future.result()
            found |= part & test
            distinct |= part
            if number % 10 == 0:
                print(f"{number * PART:,} walked, {len(found)} in both", file=sys.stderr, flush=True)
    print(
        f"{len(parts) * PART:,} training problems of {arguments.task} ({len(distinct):,} distinct), "
        f"{len(test):,} test problems, {len(found)} in both, {time.monotonic() - begin:.0f} s"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
