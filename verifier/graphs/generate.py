"""Makes problems: a seeded, constructive sampler of well-posed problems of an exact op count.

Not here: the shape of the graph (`verifier.graphs.structure`) and the words (`verifier.graphs.tell`). A shape gets
values and operations from the leaves up; in reverse mode one leaf becomes the unknown and the slope of every value in
it is carried along, so that a question without a unique answer is never told. The same (spec, seed) gives the same
bytes on every machine, and the same seed gives the same graph in every template.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from verifier.errors import ImpossibleSpec
from verifier.graphs.problem import MODES, TEMPLATES, Graph, Operation, Problem, ProblemSpec, Quantity
from verifier.graphs.structure import GRAND, KINDS, PLACES, TOTAL, Builder, DeadEnd, Shape
from verifier.graphs.tell import Teller, quantity_names

MAX_VALUE = 1000
MAX_OP = 40
MIN_OP = {2: 2, 3: 4}  # by depth; at depth 3 the smallest is a count, an average and their product, which costs 2
_ATTEMPTS = 2000
MAX_ANSWER = 100
# The largest constants of an op: with these, and every other field at its worst, one draw in 70 succeeds.
_CONSTANTS = 500
# A quarter of all draws or more succeed where op < 3 * facts; beyond that shapes become contrived, then impossible.
_EDGES_PER_FACT = 3
# Times only up to here, so that sums of products stay within MAX_VALUE.
_MAX_PRODUCT = 250
_TOTAL_QUESTION = 0.85
_DIFFERENCE = 0.48


def generate(spec: ProblemSpec, seed: int) -> Problem:
    """The problem of a cell and a seed.

    Raises ImpossibleSpec where no problem can be what `spec` says.
    """
    return sketch(spec, seed).tell()


@dataclass(frozen=True, slots=True)
class Sketch:
    """A problem before it is told: enough to decide whether it is wanted, at half the cost."""

    spec: ProblemSpec
    seed: int
    graph: Graph
    _rng: Random

    def tell(self) -> Problem:
        """The problem in words. Call once: it goes on drawing where the graph left off."""
        graph = self.graph
        teller = Teller(self._rng, graph)
        problem, question = teller.statement()
        answer = graph.needed[-1].value
        if graph.given is not None:
            answer = next(quantity.value for quantity in graph.needed if quantity.name == graph.query)
        return Problem(self.spec, self.seed, problem, question, teller.solution(), answer, graph)


def sketch(spec: ProblemSpec, seed: int) -> Sketch:
    """The graph of `generate(spec, seed)`.

    Raises ImpossibleSpec like `generate`.
    """
    check_spec(spec)
    rng = Random(seed)  # noqa: S311 - problems are no secrets
    for _ in range(_ATTEMPTS):
        try:
            return Sketch(spec, seed, _attempt(spec, rng), rng)
        except DeadEnd:
            continue
    raise AssertionError(f"no problem in {_ATTEMPTS} draws of {spec}, which passed its checks")


def check_spec(spec: ProblemSpec) -> None:
    """Raises ImpossibleSpec where `spec` asks for what cannot be, naming the field and what would do."""
    if spec.mode not in MODES:
        raise ImpossibleSpec(f"unknown mode {spec.mode!r}: use one of {', '.join(MODES)}")
    if spec.template not in TEMPLATES:
        raise ImpossibleSpec(f"unknown template {spec.template!r}: use one of {', '.join(TEMPLATES)}")
    if spec.depth not in MIN_OP:
        raise ImpossibleSpec(f"depth is 2 or 3, not {spec.depth}")
    if not MIN_OP[spec.depth] <= spec.op <= MAX_OP:
        raise ImpossibleSpec(f"op is {MIN_OP[spec.depth]} to {MAX_OP} at depth {spec.depth}, not {spec.op}")
    if not 1 <= spec.max_answer <= MAX_ANSWER:
        raise ImpossibleSpec(f"max_answer is 1 to {MAX_ANSWER}, not {spec.max_answer}")
    if not 1 <= spec.max_constant <= _CONSTANTS // spec.op:
        most = _CONSTANTS // spec.op
        raise ImpossibleSpec(f"max_constant is 1 to {most} at op {spec.op}, not {spec.max_constant}")
    if spec.max_facts is not None:
        _check_facts(spec, spec.max_facts)


def _check_facts(spec: ProblemSpec, max_facts: int) -> None:
    """A reverse problem gives one fact away: the value that the equation is about."""
    given = 1 if spec.mode == "reverse" else 0
    least, most = -(-(spec.op + 1) // _EDGES_PER_FACT) + given, PLACES * KINDS * (spec.depth - 1) + given
    if max_facts < least:
        raise ImpossibleSpec(f"op {spec.op} in {spec.mode} mode needs max_facts of at least {least}, not {max_facts}")
    if max_facts > most:
        raise ImpossibleSpec(f"max_facts {max_facts} is more than a template has names for: {most} at most")


def _attempt(spec: ProblemSpec, rng: Random) -> Graph:
    reverse = spec.mode == "reverse"
    names = quantity_names(rng, spec.template)
    most = 2 * PLACES * KINDS if spec.max_facts is None else spec.max_facts - reverse
    builder = Builder(rng, spec.depth, most)
    builder.needed(spec.op, rng.random() < _TOTAL_QUESTION)
    values = Values(builder.shape, rng, spec.max_constant)
    if reverse:
        values.hide(spec.max_answer)
    values.settle(builder.shape.order)
    if reverse and values.slope[builder.shape.order[-1]] == 0:
        raise DeadEnd
    builder.distract(_distractors(rng, spec))
    values.extend()
    values.settle(builder.shape.spare)
    return _graph(builder.shape, values, names)


# How often the reference adds distractors and how many it then adds on average, by op (measured on its problems).
_FORWARD_SPARE = {
    2: (1.0, 4.7), 3: (0.75, 3.1), 4: (0.93, 2.7), 5: (0.87, 3.1), 6: (0.93, 7.0), 7: (0.65, 4.5), 8: (0.67, 6.6),
    9: (0.75, 5.6), 10: (0.4, 5.0), 11: (0.3, 4.5), 12: (0.25, 5.0), 13: (0.25, 5.0), 14: (0.25, 5.0),
    15: (0.3, 4.8), 16: (0.22, 4.5), 17: (0.22, 4.5),
}  # fmt: skip
_REVERSE_SPARE = {
    2: (0.13, 3.0), 3: (0.87, 2.0), 4: (0.87, 2.2), 5: (1.0, 2.8), 6: (0.93, 5.9), 7: (0.87, 5.5), 8: (0.73, 3.8),
    9: (0.87, 4.5), 10: (0.35, 6.0), 11: (0.47, 4.4), 12: (0.15, 6.0), 13: (0.15, 6.0), 14: (0.5, 3.7),
    15: (0.67, 4.8), 16: (0.2, 6.0), 17: (0.27, 5.7),
}  # fmt: skip
_FEW_SPARE = (0.13, 1.8)
_DEEP_SPARE = (0.95, 6.0)


def _distractors(rng: Random, spec: ProblemSpec) -> int:
    table = _REVERSE_SPARE if spec.mode == "reverse" else _FORWARD_SPARE
    share, mean = _DEEP_SPARE if spec.depth == 3 else table.get(spec.op, _FEW_SPARE)
    any_at_all, amount = rng.random() < share, rng.random()
    return 1 + int(amount * (2 * mean - 1)) if any_at_all else 0


class Values:
    """Operations, constants and values for the nodes of a shape, parents first."""

    def __init__(self, shape: Shape, rng: Random, max_constant: int) -> None:
        self._shape = shape
        self._random = rng.random
        self._max_constant = max_constant
        # The reference's literals: 1 in one of nine, 2 to 4 alike; 1 stays rarer in every range.
        self._one = 1.0 if max_constant == 1 else 0.44 / max_constant
        self.operation: list[Operation] = []
        self.constant: list[int | None] = []
        self.value: list[int] = []
        # How much a value grows with the unknown; all 0 in forward mode.
        self.slope: list[int] = []
        self.unknown = -1
        self.extend()

    def extend(self) -> None:
        """Make room for the nodes that the shape got since."""
        more = len(self._shape.role) - len(self.value)
        self.operation.extend([Operation.LITERAL] * more)
        self.constant.extend([None] * more)
        self.value.extend([0] * more)
        self.slope.extend([0] * more)

    def hide(self, max_answer: int) -> None:
        """Make one literal the unknown, with a value of 1 to `max_answer`; 1 is rarer, as in the reference."""
        shape, draw = self._shape, self._random()
        leaves = [node for node in shape.order if not shape.parents[node]]
        self.unknown = leaves[int(self._random() * len(leaves))]
        one = max_answer == 1 or draw * max_answer < 0.45
        self.value[self.unknown] = 1 if one else 2 + int(self._random() * (max_answer - 1))
        self.slope[self.unknown] = 1
        self.operation[self.unknown] = Operation.UNKNOWN

    def settle(self, nodes: list[int]) -> None:
        """Give each node of `nodes` its operation and value.

        Raises DeadEnd where a value leaves 1..MAX_VALUE or is not linear in the unknown.
        """
        for node in nodes:
            if node == self.unknown:
                continue
            self._settle(node)
            if not 0 < self.value[node] <= MAX_VALUE:
                raise DeadEnd

    def _settle(self, node: int) -> None:
        role, parents = self._shape.role[node], self._shape.parents[node]
        if role == GRAND:
            self._multiply(node, parents)
        elif role == TOTAL:
            self.operation[node] = Operation.TOTAL
            self._sum(node, parents)
        elif not parents:
            self.value[node] = self.constant[node] = self._literal(self._random())
        else:
            self._compute(node, parents)

    def _literal(self, draw: float) -> int:
        one = self._one
        return 1 if draw < one else 2 + int((draw - one) / (1 - one) * (self._max_constant - 1))

    def _sum(self, node: int, parents: list[int]) -> None:
        value, slope = self.value, self.slope
        self.value[node] = sum([value[parent] for parent in parents])
        self.slope[node] = sum([slope[parent] for parent in parents])

    def _multiply(self, node: int, parents: list[int]) -> None:
        value, slope = self.value, self.slope
        self.operation[node] = Operation.WEIGHTED_TOTAL
        for count, average in zip(parents[::2], parents[1::2], strict=True):
            if slope[count] and slope[average]:
                raise DeadEnd
            value[node] += value[count] * value[average]
            slope[node] += slope[count] * value[average] + value[count] * slope[average]

    def _compute(self, node: int, parents: list[int]) -> None:
        value, slope = self.value, self.slope
        inner = Operation.COPY if len(parents) == 1 else Operation.SUM
        if len(parents) == 2 and self._random() < _DIFFERENCE and value[parents[0]] != value[parents[1]]:
            inner = Operation.DIFFERENCE
            if value[parents[0]] < value[parents[1]]:
                parents.reverse()
            value[node] = value[parents[0]] - value[parents[1]]
            slope[node] = slope[parents[0]] - slope[parents[1]]
        else:
            self._sum(node, parents)
        if self._shape.constant[node]:
            inner = self._apply_constant(node, inner)
        self.operation[node] = inner

    def _apply_constant(self, node: int, inner: Operation) -> Operation:
        times, draw = self._random() < 0.48, self._random()
        factor = 2 + int(draw * (self._max_constant - 1))
        if times and factor <= self._max_constant and factor * self.value[node] <= _MAX_PRODUCT:
            self.constant[node] = factor
            self.value[node] *= factor
            self.slope[node] *= factor
            return _TIMES[inner]
        constant = 1 + int(draw * self._max_constant)
        self.constant[node] = constant
        self.value[node] += constant
        return _PLUS[inner]


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
        names[role][place if role >= TOTAL else place * KINDS + kind]
        for role, place, kind in zip(shape.role, shape.place, shape.kind, strict=True)
    ]

    def quantity(node: int) -> Quantity:
        parents = tuple([name[parent] for parent in shape.parents[node]])
        return Quantity(name[node], values.operation[node], parents, values.constant[node], values.value[node])

    needed = tuple([quantity(node) for node in shape.order])
    spare = tuple([quantity(node) for node in shape.spare])
    last = needed[-1].name
    return Graph(needed, spare, last) if values.unknown < 0 else Graph(needed, spare, name[values.unknown], last)
