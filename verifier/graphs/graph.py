"""Questions about a dependency graph: its identity, how deep it is and where to draw its nodes.

Not here: the records themselves (`verifier.graphs.problem`), sampling (`verifier.graphs.generate`), drawing
(`verifier.graphs.draw`).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

from verifier.graphs.problem import Graph, Operation, Problem, Quantity

_ORDERED = frozenset({Operation.DIFFERENCE, Operation.PLUS_DIFFERENCE, Operation.TIMES_DIFFERENCE})


def canonical_hash(problem: Problem) -> str:
    """32 hex digits that two problems share exactly when they tell the same facts and ask the same.

    Letters, the order of sentences and the order of a sum's operands or products do not count; names do, and so the
    template, and so do distractors.
    """
    return graph_hash(problem.graph)


def graph_hash(graph: Graph) -> str:
    """The canonical hash of the problem that tells this graph."""
    facts = [_fact(quantity) for quantity in graph.needed + graph.distractors]
    facts.sort()
    given = "" if graph.given is None else f"{graph.given}={graph.needed[-1].value}"
    text = "\n".join([*facts, given, graph.query])
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _fact(quantity: Quantity) -> str:
    parents = quantity.parents
    if quantity.operation is Operation.WEIGHTED_TOTAL:
        parents = chain.from_iterable(sorted(zip(parents[::2], parents[1::2], strict=True)))
    elif len(parents) > 1 and quantity.operation not in _ORDERED:
        parents = sorted(parents)
    return f"{quantity.name}|{quantity.operation}|{quantity.constant}|{'|'.join(parents)}"


def depths(graph: Graph) -> dict[str, int]:
    """For every quantity the number of edges on the longest path down to a literal or the unknown."""
    result: dict[str, int] = {}
    for quantity in graph.needed + graph.distractors:
        result[quantity.name] = 1 + max((result[parent] for parent in quantity.parents), default=-1)
    return result


@dataclass(frozen=True, slots=True)
class Layout:
    """Where to draw a graph: `layers[0]` holds the quantities without parents, `layers[i]` only reads lower ones.

    `width` is the number of quantities of the fullest layer.
    """

    layers: tuple[tuple[str, ...], ...]
    width: int


def layout(graph: Graph) -> Layout:
    """Layers by depth, ordered within a layer by the mean place of the parents, so that few edges cross."""
    depth = depths(graph)
    rows: list[list[str]] = [[] for _ in range(1 + max(depth.values()))]
    for name, row in depth.items():
        rows[row].append(name)
    parents = {quantity.name: quantity.parents for quantity in graph.needed + graph.distractors}
    place: dict[str, float] = {}
    for row in rows:
        row.sort(key=lambda name: _mean([place[parent] for parent in parents[name]]))
        for index, name in enumerate(row):
            place[name] = (index + 0.5) / len(row)
    return Layout(tuple(tuple(row) for row in rows), max(len(row) for row in rows))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.5
