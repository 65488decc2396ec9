"""The records of a problem: what is asked for, the graph behind it and the texts that tell it.

Nothing here samples, renders or judges; these are the frozen values that the other modules of the package pass on.
Terms follow the paper (arXiv 2512.07783, section 3): a *quantity* is a node of the dependency graph, an edge points
from a quantity to one computed from it, and *op* counts the incoming edges of the quantities that the solution needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Mode = Literal["forward", "reverse"]
Template = Literal["zoo", "school", "movie"]

MODES: tuple[Mode, ...] = ("forward", "reverse")
TEMPLATES: tuple[Template, ...] = ("zoo", "school", "movie")

REFERENCE_MAX_ANSWER = 4
DEFAULT_MAX_ANSWER = 20
DEFAULT_MAX_CONSTANT = 4


class Operation(StrEnum):
    """How a quantity's value follows from its parents."""

    LITERAL = "literal"  # equals 4
    COPY = "copy"  # equals B
    PLUS = "plus"  # equals 3 plus B
    TIMES = "times"  # equals 3 times B
    SUM = "sum"  # equals the sum of B and C (and more)
    DIFFERENCE = "difference"  # equals the difference between B and C
    PLUS_SUM = "plus sum"  # equals 3 plus the sum of B and C (and more)
    TIMES_SUM = "times sum"  # equals 3 times the sum of B and C (and more)
    PLUS_DIFFERENCE = "plus difference"  # equals 3 plus the difference between B and C
    TIMES_DIFFERENCE = "times difference"  # equals 3 times the difference between B and C
    TOTAL = "total"  # implicit: the sum over the kinds that the place mentions
    WEIGHTED_TOTAL = "weighted total"  # implicit, depth 3: the sum over the kinds of count times average
    UNKNOWN = "unknown"  # reverse only: the quantity that the question asks for


@dataclass(frozen=True, slots=True)
class ProblemSpec:
    """What to make: a cell of the task grid.

    `max_facts` caps the sentences of the problem (distractors are what gives way); None leaves the reference's
    amount. Reverse answers are drawn from 1 to `max_answer`: REFERENCE_MAX_ANSWER is what the published models know,
    the default is harder to guess (docs/decisions/0020-reverse-answers.md). `max_constant` is the number range: the
    numbers of the other sentences are drawn from 1 to it, factors from 2; the default is the reference's
    (docs/decisions/0060-number-range.md).
    """

    op: int
    mode: Mode = "forward"
    template: Template = "zoo"
    depth: int = 2
    max_facts: int | None = None
    max_answer: int = DEFAULT_MAX_ANSWER
    max_constant: int = DEFAULT_MAX_CONSTANT


@dataclass(frozen=True, slots=True)
class Quantity:
    """One node: its name as the texts spell it, and how its value comes about.

    `constant` is the number of LITERAL and of the PLUS and TIMES forms; `parents` are names, in the order the
    sentence gives them. The parents of a WEIGHTED_TOTAL come in pairs: a count, then its average.
    """

    name: str
    operation: Operation
    parents: tuple[str, ...]
    constant: int | None
    value: int


@dataclass(frozen=True, slots=True)
class Graph:
    """The dependency DAG of one problem.

    `needed` holds the quantities of the solution in topological order; `distractors` the others that the problem
    text states. In reverse mode `query` is the unknown and `given` the quantity whose value the text gives away;
    in forward mode `given` is None and `query` is the last of `needed`.
    """

    needed: tuple[Quantity, ...]
    distractors: tuple[Quantity, ...]
    query: str
    given: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as it is told, with its gold trace.

    `solution` ends in "Answer: N."; the texts have no leading or trailing spaces.
    """

    spec: ProblemSpec
    seed: int
    problem: str
    question: str
    solution: str
    answer: int
    graph: Graph

    @property
    def id(self) -> str:
        """A readable key, unique within one spec family: the same key, the same bytes."""
        spec = self.spec
        return f"{spec.template}-{spec.mode}-op{spec.op}-d{spec.depth}-{self.seed:x}"
