"""What tests ask about dependency graphs."""

from verifier.graphs.problem import Graph, Operation, Quantity


def op_count(graph: Graph) -> int:
    """The paper's difficulty: incoming edges summed over the quantities that the solution needs."""
    return sum(_edges(quantity) for quantity in graph.needed)


def _edges(quantity: Quantity) -> int:
    """Its parents, and one for a constant or for being the unknown."""
    constant = quantity.constant is not None or quantity.operation is Operation.UNKNOWN
    return len(quantity.parents) + constant
