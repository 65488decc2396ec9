"""Draws problems from mixtures: splits that never overlap, streams addressed by index, fixed sets for evaluation.

Not here: mixtures and budgets (`verifier.graphs.mixture`), the paper's ones by name (`verifier.graphs.presets`), one
problem (`verifier.graphs.generate`). A problem's split follows from its canonical hash alone, so the same problem lands
in the same split whatever the seed, the letters and the order of its sentences: nothing in test can be in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from verifier.errors import BadMixture
from verifier.graphs.generate import generate, sketch
from verifier.graphs.graph import canonical_hash, graph_hash
from verifier.graphs.mixture import Budget, Cell, Mixture, by_tokens
from verifier.graphs.presets import PRESETS, preset
from verifier.graphs.problem import MODES, TEMPLATES, Problem, ProblemSpec
from verifier.graphs.tell import training_text
from verifier.mixture import largest_remainder
from verifier.seeds import item_seed, mix
from verifier.splits import split_of_hash
from verifier.task import Split

__all__ = [
    "PRESETS",
    "Budget",
    "Cell",
    "Mixture",
    "by_tokens",
    "mean_length",
    "preset",
    "problem_at",
    "problems_for_eval",
    "split_of",
    "stream",
]

_EVAL_DRAW, _LENGTH_DRAW = 3, 4
# Draws for an evaluation set before a cell counts as exhausted: these, and 200 a problem wanted (about 20 are needed).
_TRIES = 2_000


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


def problems_for_eval(
    cells: Mixture | Sequence[Cell], n: int, seed: int, split: Split = "test"
) -> dict[int, tuple[Problem, ...]]:
    """For each op `n` fixed problems of a split, no two of them the same, shared out over the op's cells.

    The set of a cell does not depend on the other cells, so that an op's problems stay the same when ops are added.
    `cells` that are no Mixture are taken as they are, with a Mixture's default facts and ranges.
    Raises BadMixture where a cell has fewer distinct problems of the split than are asked for.
    """
    mixture = cells if isinstance(cells, Mixture) else None
    members = tuple(cells.cells if isinstance(cells, Mixture) else cells)
    result: dict[int, tuple[Problem, ...]] = {}
    for op in sorted({cell.op for cell in members}):
        of_op = [cell for cell in members if cell.op == op]
        total = sum(cell.share for cell in of_op)
        shares = [cell.share / total if total else 1 / len(of_op) for cell in of_op]
        problems: list[Problem] = []
        for cell, number in zip(of_op, largest_remainder(shares, n), strict=True):
            problems += _distinct(_spec(cell, mixture), number, seed, split)
        result[op] = tuple(problems)
    return result


def _spec(cell: Cell, mixture: Mixture | None) -> ProblemSpec:
    if mixture is not None:
        return mixture.spec(cell)
    return ProblemSpec(cell.op, cell.mode, cell.template, cell.depth)


def _distinct(spec: ProblemSpec, number: int, seed: int, split: Split) -> list[Problem]:
    """The first `number` distinct problems of a split in the cell's own order of seeds."""
    key = (seed, spec.op, MODES.index(spec.mode), TEMPLATES.index(spec.template), spec.depth, _EVAL_DRAW)
    found: dict[str, Problem] = {}
    for index in range(_TRIES + 200 * number):
        if len(found) == number:
            break
        drawn = sketch(spec, mix(*key, index))
        digest = graph_hash(drawn.graph)
        if digest not in found and split_of_hash(digest) == split:
            found[digest] = drawn.tell()
    if len(found) < number:
        raise BadMixture(
            f"only {len(found)} distinct {split} problems of {spec} were found, not {number}: ask for fewer"
        )
    return list(found.values())


def mean_length(spec: ProblemSpec, tokens: Callable[[str], int], samples: int = 64) -> float:
    """The mean number of tokens of a cell's training texts, measured on a fixed sample."""
    total = 0
    for index in range(samples):
        problem = generate(spec, mix(index, _LENGTH_DRAW))
        total += tokens(training_text(problem.problem, problem.question, problem.solution))
    return total / samples
