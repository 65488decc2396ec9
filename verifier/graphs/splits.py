"""Draws problems from mixtures: splits that never overlap, streams addressed by index.

Not here: mixtures and budgets (`verifier.graphs.mixture`), the paper's ones by name (`verifier.graphs.presets`), one
problem (`verifier.graphs.generate`), held-out sets (`verifier.graphs.family`). A problem's split follows from its
canonical hash alone, so the same problem lands in the same split whatever the seed, the letters and the order of its
sentences: nothing in test can be in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

from verifier.graphs.generate import generate, sketch
from verifier.graphs.graph import canonical_hash, graph_hash
from verifier.graphs.mixture import Mixture
from verifier.graphs.problem import Problem, ProblemSpec
from verifier.graphs.tell import training_text
from verifier.seeds import item_seed, mix
from verifier.splits import split_of_hash
from verifier.task import Split

_LENGTH_DRAW = 4


def split_of(problem: Problem) -> Split:
    """The split that a problem belongs to: 90% train, 5% validation, 5% test of all distinct problems."""
    return split_of_hash(canonical_hash(problem))


def problem_at(mixture: Mixture, seed: int, split: Split | None, index: int) -> Problem:
    """Problem `index` of a stream: a pure function of its arguments.

    The cell is drawn by `mixture.spec_at`; seeds are then tried in a fixed order until the problem is of the split
    (None: of any). Even the smallest cell has problems of every split.
    """
    spec = mixture.spec_at(seed, index)
    attempt = 0
    while True:
        drawn = sketch(spec, item_seed(seed, index, attempt))
        if split is None or split_of_hash(graph_hash(drawn.graph)) == split:
            return drawn.tell()
        attempt += 1


def stream(mixture: Mixture, seed: int, split: Split | None, start: int = 0) -> Iterator[Problem]:
    """The endless stream of a mixture's problems from index `start` on.

    `stream(m, s, split, k)` continues where `k` problems of `stream(m, s, split)` have been taken.
    """
    for index in count(start):
        yield problem_at(mixture, seed, split, index)


def mean_length(spec: ProblemSpec, tokens: Callable[[str], int], samples: int = 64) -> float:
    """The mean number of tokens of a cell's training texts, measured on a fixed sample."""
    total = 0
    for index in range(samples):
        problem = generate(spec, mix(index, _LENGTH_DRAW))
        total += tokens(training_text(problem.problem, problem.question, problem.solution))
    return total / samples
