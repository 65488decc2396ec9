"""The proof that a problem is sound: what the solver reads out of its words against what its graph says.

The one place where the two sides meet. `verifier.graphs.solver.solve` stays blind to the graph, and whoever makes
problems stays blind to the solver.
"""

from __future__ import annotations

from verifier.graphs.problem import Problem, Quantity
from verifier.graphs.solver.solve import Derivation, Derived, solve


def disagreement(problem: Problem) -> str | None:
    """The first point on which the solver differs from the gold side, in words; None for a sound problem.

    Compared are: that there is one answer, the answer, the needed quantities, and for each its value, operation and
    parents.
    """
    found = solve(problem.problem, problem.question)
    if found.fault is not None:
        return f"{found.fault.defect.value}: {found.fault.reason}"
    if found.doubt is not None:
        return found.doubt
    if found.answer != problem.answer:
        return f"the answer is {found.answer}, not {problem.answer}"
    return _difference(found, problem)


def _difference(found: Derivation, problem: Problem) -> str | None:
    derived = {step.name: step for step in found.steps}
    needed = {quantity.name: quantity for quantity in problem.graph.needed}
    if derived.keys() != needed.keys():
        return f"needed by one side only: {', '.join(sorted(derived.keys() ^ needed.keys()))}"
    for name, quantity in needed.items():
        ours, gold = _facts_of(derived[name]), _facts_of(quantity)
        if ours != gold:
            return f"{name}: {ours}, not {gold}"
    return None


def _facts_of(node: Derived | Quantity) -> tuple[int, str, frozenset[str]]:
    return node.value, node.operation.value, frozenset(node.parents)
