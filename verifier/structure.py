"""Samples the shape of a problem: which quantities there are and which is computed from which.

Not here: values and operations (`verifier.generate`) and words (`verifier.render`). Shapes are built backwards from
the question: a quantity that still lacks its sentence is drawn, given parents (waiting quantities or new ones), and
so on until none waits. A budget of edges is carried along, so that the op count comes out exactly, without rejection:
`budget >= waiting` holds at every step, and one edge always suffices to finish a quantity (a literal).
Processing order reversed is a topological order, so cycles cannot arise. A total closes its place: from then on no
quantity may be added that the total would have to count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

PLACES = 5
KINDS = 5

COUNT, AVERAGE, TOTAL, GRAND = range(4)


class DeadEnd(Exception):
    """The names ran out before the budget did; the caller draws again."""


@dataclass(slots=True)
class Shape:
    """A dependency graph without values: node i is (role, place, kind) with parents and perhaps a constant.

    `order` lists the needed nodes, parents first; `spare` the distractors, in the order they were added.
    A node without parents is a literal. `kind` is -1 for totals.
    """

    role: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    parents: list[list[int]] = field(default_factory=list)
    constant: list[bool] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    spare: list[int] = field(default_factory=list)


# (number of parents, has a constant) with weights when there is budget to spare; the cost is their sum.
_FORMS: tuple[tuple[int, int], ...] = ((0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0))
_NEEDED_WEIGHTS = (0.10, 0.24, 0.34, 0.10, 0.10, 0.06, 0.04, 0.02)


def _cumulative(weights: tuple[float, ...]) -> tuple[float, ...]:
    total, running, result = sum(weights), 0.0, []
    for weight in weights:
        running += weight
        result.append(running / total)
    return tuple(result)


class Builder:
    """Grows one shape. Use once: `needed`, then `distractors`, then read `shape`."""

    def __init__(self, rng: Random, depth: int, places: int, kinds: int) -> None:
        self.shape = Shape()
        self._random = rng.random
        self._depth = depth
        roles = (COUNT, AVERAGE) if depth == 3 else (COUNT,)
        # Names not yet taken, by place, as role * KINDS + kind.
        self._free = [[role * KINDS + kind for kind in range(kinds) for role in roles] for _ in range(places)]
        for names in self._free:
            rng.shuffle(names)
        self._members: list[list[int]] = [[] for _ in range(places)]
        # A place is fresh while none of its quantities has been given its parents: only then may a total come first.
        self._fresh = [True] * places
        self._total_waiting = [-1] * places
        self._waiting: list[int] = []
        self._budget = 0
        self._unpaid = 0

    def needed(self, op: int, total_question: bool) -> None:
        """Build the graph of the question with exactly `op` edges.

        Raises DeadEnd when the names run out.
        """
        self._budget = op
        if total_question:
            self._new_total(op)
        else:
            self._new_instance()
        order = self.shape.order
        while self._waiting:
            node = self._draw()
            order.append(node)
            if self.shape.role[node] < TOTAL:
                self._settle(node)
        order.reverse()

    def _add(self, role: int, place: int, kind: int) -> int:
        shape = self.shape
        node = len(shape.role)
        shape.role.append(role)
        shape.place.append(place)
        shape.kind.append(kind)
        shape.parents.append([])
        shape.constant.append(False)
        return node

    def _draw(self) -> int:
        """Take the next quantity to settle; a kind waits for the total that counts it."""
        waiting = self._waiting
        count = len(waiting)
        index = count - 1 - int(self._random() ** 1.5 * count)
        node = waiting[index]
        total = self._total_waiting[self.shape.place[node]]
        if total >= 0 and node != total:
            index = waiting.index(total)
            node = total
        waiting[index] = waiting[-1]
        waiting.pop()
        if self.shape.role[node] >= TOTAL:
            self._total_waiting[self.shape.place[node]] = -1
        return node

    def _settle(self, node: int) -> None:
        """Give an instance quantity its parents."""
        shape = self.shape
        self._unpaid -= 1
        room = self._budget - self._unpaid
        self._fresh[shape.place[node]] = False
        parents, constant = self._form(room)
        shape.constant[node] = bool(constant)
        self._budget -= parents + constant
        chosen = shape.parents[node]
        for left in range(parents, 0, -1):
            chosen.append(self._parent(chosen, left))

    def _form(self, room: int) -> tuple[int, int]:
        """Draw how many parents and whether a constant, at a cost of at most `room`."""
        waiting = len(self._waiting)
        if room == 1 and (waiting == 0 or self._random() < 0.6):
            return (0, 1)
        while True:
            draw = self._random()
            index = 0
            while _NEEDED[index] < draw:
                index += 1
            parents, constant = _FORMS[index]
            if parents == 0 and waiting == 0:
                continue
            new = max(0, parents - waiting, 1 if waiting == 0 else 0)
            if parents + constant + new <= room:
                return (parents, constant)

    def _parent(self, chosen: list[int], left: int) -> int:
        """A parent that is not yet in `chosen`: a waiting quantity, a new one, or a new total."""
        candidates = [node for node in self._waiting if node not in chosen]
        short = left > len(candidates)
        reserved = max(0, left - 1 - len(candidates))
        slack = self._budget - self._unpaid - reserved
        if slack >= 1 and (short or self._random() < 0.45):
            if slack >= 2 and self._random() < 0.25:
                total = self._new_total(slack)
                if total >= 0:
                    return total
            return self._new_instance()
        if not candidates:
            raise DeadEnd
        return candidates[int(self._random() * len(candidates))]

    def _new_instance(self) -> int:
        places = [place for place, names in enumerate(self._free) if names]
        if not places:
            raise DeadEnd
        return self._take(places[int(self._random() * len(places))])

    def _take(self, place: int) -> int:
        role, kind = divmod(self._free[place].pop(), KINDS)
        node = self._add(role, place, kind)
        self._members[place].append(node)
        self._waiting.append(node)
        self._unpaid += 1
        return node

    def _new_total(self, room: int) -> int:
        """Add a total over a fresh place and close the place; -1 where none fits into `room` edges."""
        fits = [
            place
            for place, fresh in enumerate(self._fresh)
            if fresh and self._total_waiting[place] < 0 and self._room_for_total(place, room)
        ]
        if not fits:
            return -1
        place = fits[int(self._random() * len(fits))]
        members = self._members[place]
        present = len(members)
        most = min(len(self._free[place]), (room - present) // 2)
        least = 1 if present == 0 else 0
        extra = least + int(self._random() * (most - least + 1))
        for _ in range(extra):
            self._take(place)
        node = self._add(TOTAL, place, -1)
        self.shape.parents[node].extend(members)
        self._budget -= len(members)
        self._free[place].clear()
        self._total_waiting[place] = node
        self._waiting.append(node)
        return node

    def _room_for_total(self, place: int, room: int) -> bool:
        present = len(self._members[place])
        return present <= room if present else room >= 2


_NEEDED = _cumulative(_NEEDED_WEIGHTS)
