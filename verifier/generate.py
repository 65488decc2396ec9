"""Makes problems: a seeded, constructive sampler of well-posed problems of an exact op count.

Not here: the shape of the graph (`verifier.structure`) and the words (`verifier.render`). A shape gets values and
operations from the leaves up; in reverse mode one leaf becomes the unknown and every value is carried along as
a + b*x, so that a question without a unique answer is never told. The same (spec, seed) gives the same bytes on every
machine, and the same seed gives the same graph in every template.
"""

from __future__ import annotations

from random import Random

from verifier.errors import ImpossibleSpec
from verifier.problem import MODES, TEMPLATES, Graph, Operation, Problem, ProblemSpec, Quantity
from verifier.render import Teller, quantity_names
from verifier.structure import KINDS, PLACES, TOTAL, Builder, DeadEnd, Shape

MAX_VALUE = 1000
MAX_OP = 40
_ATTEMPTS = 200


def generate(spec: ProblemSpec, seed: int) -> Problem:
    """The problem of a cell and a seed.

    Raises ImpossibleSpec where no problem can be what `spec` says.
    """
    _check(spec)
    rng = Random(seed)  # noqa: S311 - problems are no secrets
    for _ in range(_ATTEMPTS):
        try:
            return _attempt(spec, seed, rng)
        except DeadEnd:
            continue
    raise ImpossibleSpec(
        f"no problem of op {spec.op} was found with max_facts={spec.max_facts}; raise max_facts or lower op"
    )


def _check(spec: ProblemSpec) -> None:
    if spec.mode not in MODES:
        raise ImpossibleSpec(f"unknown mode {spec.mode!r}: use one of {', '.join(MODES)}")
    if spec.template not in TEMPLATES:
        raise ImpossibleSpec(f"unknown template {spec.template!r}: use one of {', '.join(TEMPLATES)}")
    if spec.depth not in (2, 3):
        raise ImpossibleSpec(f"depth is 2 or 3, not {spec.depth}")
    least = 2 if spec.depth == 2 else 3
    if not least <= spec.op <= MAX_OP:
        raise ImpossibleSpec(f"op is {least} to {MAX_OP} at depth {spec.depth}, not {spec.op}")
    if spec.max_answer < 1:
        raise ImpossibleSpec(f"max_answer is at least 1, not {spec.max_answer}")
    if spec.max_facts is not None and spec.max_facts < 1:
        raise ImpossibleSpec(f"max_facts is at least 1, not {spec.max_facts}")


def _attempt(spec: ProblemSpec, seed: int, rng: Random) -> Problem:
    names = quantity_names(rng, spec.template)
    builder = Builder(rng, spec.depth, PLACES, KINDS)
    builder.needed(spec.op, rng.random() < 0.85)
    values = Values(builder.shape, rng)
    values.settle(builder.shape.order)
    graph = _graph(builder.shape, values, names)
    teller = Teller(rng, graph)
    problem, question = teller.statement()
    return Problem(spec, seed, problem, question, teller.solution(), graph.needed[-1].value, graph)


class Values:
    """Operations, constants and values for the nodes of a shape, parents first."""

    def __init__(self, shape: Shape, rng: Random) -> None:
        count = len(shape.role)
        self._shape = shape
        self._random = rng.random
        self.operation: list[Operation] = [Operation.LITERAL] * count
        self.constant: list[int | None] = [None] * count
        self.value: list[int] = [0] * count

    def settle(self, nodes: list[int]) -> None:
        """Give each node of `nodes` its operation and value.

        Raises DeadEnd where a value exceeds MAX_VALUE.
        """
        for node in nodes:
            self._settle(node)
            if not 0 < self.value[node] <= MAX_VALUE:
                raise DeadEnd

    def _settle(self, node: int) -> None:
        shape, value = self._shape, self.value
        parents = shape.parents[node]
        if shape.role[node] >= TOTAL:
            self.operation[node] = Operation.TOTAL
            value[node] = sum([value[parent] for parent in parents])
        elif not parents:
            value[node] = self.constant[node] = 1 + int(self._random() * 4)
        else:
            self._compute(node, parents)

    def _compute(self, node: int, parents: list[int]) -> None:
        value = self.value
        inner = Operation.COPY
        result = value[parents[0]]
        if len(parents) > 1:
            inner = Operation.SUM
            if len(parents) == 2 and value[parents[0]] != value[parents[1]] and self._random() < 0.4:
                inner = Operation.DIFFERENCE
                if value[parents[0]] < value[parents[1]]:
                    parents.reverse()
                result = value[parents[0]] - value[parents[1]]
            else:
                result = sum([value[parent] for parent in parents])
        if self._shape.constant[node]:
            times = self._random() < 0.48 and result <= 60
            draw = self._random()
            constant = 2 + int(draw * 3) if times else 1 + int(draw * 4)
            self.constant[node] = constant
            inner = (_TIMES if times else _PLUS)[inner]
            result = constant * result if times else constant + result
        self.operation[node] = inner
        value[node] = result


_PLUS = {
    Operation.COPY: Operation.PLUS,
    Operation.SUM: Operation.PLUS_SUM,
    Operation.DIFFERENCE: Operation.PLUS_DIFFERENCE,
}
_TIMES = {
    Operation.COPY: Operation.TIMES,
    Operation.SUM: Operation.TIMES_SUM,
    Operation.DIFFERENCE: Operation.TIMES_DIFFERENCE,
}


def _graph(shape: Shape, values: Values, names: list[list[str]]) -> Graph:
    name = [
        names[role][place * KINDS + kind if role < TOTAL else place]
        for role, place, kind in zip(shape.role, shape.place, shape.kind, strict=True)
    ]

    def quantity(node: int) -> Quantity:
        parents = tuple([name[parent] for parent in shape.parents[node]])
        return Quantity(name[node], values.operation[node], parents, values.constant[node], values.value[node])

    needed = tuple([quantity(node) for node in shape.order])
    return Graph(needed, tuple([quantity(node) for node in shape.spare]), needed[-1].name)
