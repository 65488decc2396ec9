"""Samples the shape of a problem: which quantities there are and which is computed from which.

Not here: values and operations (`verifier.graphs.generate`) and words (`verifier.graphs.tell`). The needed graph is
built backwards from the question: a quantity that still lacks its sentence is drawn, given parents (waiting quantities
or new ones), and so on until none waits. A budget of edges is carried along, so that the op count comes out exactly
without rejection: `budget >= unpaid` holds at every step, and one edge suffices to finish a quantity (a literal).
Processing order reversed is a topological order, so cycles cannot arise. A total closes its place: from then on no
quantity may be added there that the total would have to count. Distractors are added last, forwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from verifier.errors import Signal

PLACES = 5
KINDS = 5

# Roles. The first two are told in a sentence, the others are implicit.
COUNT, AVERAGE, TOTAL, GRAND = range(4)


class DeadEnd(Signal):
    """A draw that leads nowhere (names or facts ran out, a value grew too large); the caller draws again."""


@dataclass(slots=True)
class Shape:
    """A dependency graph without values: node i is (role, place, kind) with parents and perhaps a constant.

    `order` lists the needed nodes, parents first; `spare` the distractors, parents first too. A told node without
    parents is a literal. `kind` is -1 for totals. A GRAND total's parents are pairs: a count, then its average.
    """

    role: list[int] = field(default_factory=list[int])
    place: list[int] = field(default_factory=list[int])
    kind: list[int] = field(default_factory=list[int])
    parents: list[list[int]] = field(default_factory=list[list[int]])
    constant: list[bool] = field(default_factory=list[bool])
    order: list[int] = field(default_factory=list[int])
    spare: list[int] = field(default_factory=list[int])


def _cumulative(*weights: float) -> tuple[float, ...]:
    total, running = sum(weights), 0.0
    result: list[float] = []
    for weight in weights:
        running += weight / total
        result.append(running)
    return (*result[:-1], 1.0)


# (number of parents, has a constant); the cost is their sum.
_FORMS: tuple[tuple[int, int], ...] = ((0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0))
# How often a needed quantity gets which form while there is budget to spare; literals come mostly at its end.
_NEEDED = _cumulative(0.03, 0.10, 0.30, 0.10, 0.19, 0.10, 0.09, 0.06)
# The same for distractors: the reference's shares.
_SPARE = _cumulative(0.43, 0.18, 0.14, 0.06, 0.07, 0.045, 0.03, 0.035)
# How many kinds a total counts, from 1 on.
_TOTAL_KINDS = _cumulative(0.27, 0.51, 0.19, 0.03)
# Chances, fitted so that chains, fan-in and fan-out come out as in the reference (docs/tasks-fidelity.md): that the
# last edge left for a quantity makes it a literal, that a parent is a new quantity although others wait, that a new
# parent is a total, that a total at depth 3 is of count times average, and that a distractor reads a new total.
_LAST_LITERAL, _NEW_PARENT, _NEW_TOTAL, _GRAND, _SPARE_TOTAL = 0.4, 0.3, 0.6, 0.5, 0.12


class Builder:
    """Grows one shape. Use once: `needed`, then `distract`; the result is `shape`.

    `most_facts` caps the quantities that are told in a sentence.
    """

    def __init__(self, rng: Random, depth: int, most_facts: int) -> None:
        self.shape = Shape()
        self._random = rng.random
        self._deep = depth == 3
        self._most_facts = most_facts
        self._facts = 0
        roles = (COUNT, AVERAGE) if self._deep else (COUNT,)
        # Names not yet taken, by place, as role * KINDS + kind.
        self._free = [[role * KINDS + kind for kind in range(KINDS) for role in roles] for _ in range(PLACES)]
        self._members: list[list[int]] = [[] for _ in range(PLACES)]
        # A place is fresh while a total can still come before all its quantities.
        self._fresh = [True] * PLACES
        self._closed = [False] * PLACES
        self._total_waiting = [-1] * PLACES
        self._waiting: list[int] = []
        self._budget = 0
        self._unpaid = 0

    def needed(self, op: int, total_question: bool) -> None:
        """Build the graph of the question with exactly `op` edges.

        Raises DeadEnd when names or facts run out.
        """
        self._budget = op
        if not total_question or self._new_total(op) < 0:
            self._new_instance()
        order = self.shape.order
        while self._waiting:
            node = self._draw()
            order.append(node)
            if self.shape.role[node] < TOTAL:
                self._settle(node)
        order.reverse()

    def distract(self, count: int) -> None:
        """Add up to `count` told quantities that the question does not need, as far as names and facts go."""
        known = list(self.shape.order)
        for _ in range(count):
            places = [place for place, names in enumerate(self._free) if names]
            if not places or self._facts >= self._most_facts:
                return
            self._add_spare(places[int(self._random() * len(places))], -1, known)
        if self._deep:
            self._complete_pairs(known)

    def _complete_pairs(self, known: list[int]) -> None:
        """Depth 3: tell a count with each average and an average with each count, as far as facts go."""
        shape = self.shape
        for place, members in enumerate(self._members):
            for member in tuple(members):
                other = (AVERAGE if shape.role[member] == COUNT else COUNT) * KINDS + shape.kind[member]
                if other in self._free[place] and self._facts < self._most_facts:
                    self._add_spare(place, other, known)

    def _add_spare(self, place: int, code: int, known: list[int]) -> None:
        shape = self.shape
        draw, form = self._random(), 0
        while _SPARE[form] < draw:
            form += 1
        parents, constant = _FORMS[form]
        node = self._name(place, code)
        shape.parents[node] = self._spare_parents(known, min(parents, len(known)), place)
        shape.constant[node] = bool(constant)
        shape.spare.append(node)
        self._members[place].append(node)
        known.append(node)

    def _add(self, role: int, place: int, kind: int) -> int:
        shape = self.shape
        node = len(shape.role)
        shape.role.append(role)
        shape.place.append(place)
        shape.kind.append(kind)
        shape.parents.append([])
        shape.constant.append(False)
        return node

    def _name(self, place: int, code: int) -> int:
        """Take a free name of a place (-1: any) for a new told quantity."""
        names = self._free[place]
        self._facts += 1
        if code < 0:
            code = names.pop(int(self._random() * len(names)))
        else:
            names.remove(code)
        return self._add(code // KINDS, place, code % KINDS)

    def _draw(self) -> int:
        """Take the next quantity to settle; a kind waits for the total that counts it."""
        waiting = self._waiting
        index = int(self._random() * len(waiting))
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
        """Give a told quantity its parents."""
        shape = self.shape
        self._unpaid -= 1
        self._fresh[shape.place[node]] = False
        parents, constant = self._form(self._budget - self._unpaid)
        shape.constant[node] = bool(constant)
        self._budget -= parents + constant
        chosen = shape.parents[node]
        for left in range(parents, 0, -1):
            chosen.append(self._parent(chosen, left))

    def _form(self, room: int) -> tuple[int, int]:
        """Draw how many parents and whether a constant, at a cost of at most `room` edges."""
        waiting = len(self._waiting)
        if waiting == 0 and room > 1 and self._facts >= self._most_facts:
            raise DeadEnd
        if room == 1 and (waiting == 0 or self._random() < _LAST_LITERAL):
            return (0, 1)
        while True:
            draw, index = self._random(), 0
            while _NEEDED[index] < draw:
                index += 1
            parents, constant = _FORMS[index]
            if parents == 0 and waiting == 0 and room > 1:
                continue
            new = parents - waiting if parents > waiting else 0
            if parents + constant + new <= room and new <= self._most_facts - self._facts:
                return (parents, constant)

    def _parent(self, chosen: list[int], left: int) -> int:
        """A parent that is not yet in `chosen`: a waiting quantity, a new one, or a new total."""
        candidates = [node for node in self._waiting if node not in chosen]
        reserved = left - 1 - len(candidates)
        slack = self._budget - self._unpaid - (reserved if reserved > 0 else 0)
        if slack >= 1 and (left > len(candidates) or self._random() < _NEW_PARENT):
            if slack >= 2 and self._random() < _NEW_TOTAL:
                total = self._new_total(slack)
                if total >= 0:
                    return total
            if self._facts < self._most_facts or not candidates:
                return self._new_instance()
        if not candidates:
            raise DeadEnd
        return candidates[int(self._random() * len(candidates))]

    def _new_instance(self) -> int:
        places = [place for place, names in enumerate(self._free) if names]
        if not places or self._facts >= self._most_facts:
            raise DeadEnd
        return self._wait(places[int(self._random() * len(places))], -1)

    def _wait(self, place: int, code: int) -> int:
        node = self._name(place, code)
        self._members[place].append(node)
        self._waiting.append(node)
        self._unpaid += 1
        return node

    def _new_total(self, room: int) -> int:
        """Add a total over a fresh place and close the place; -1 where the place drawn does not fit into `room`."""
        fresh = [place for place, is_fresh in enumerate(self._fresh) if is_fresh]
        if not fresh:
            return -1
        place = fresh[int(self._random() * len(fresh))]
        role = GRAND if self._deep and self._random() < _GRAND else TOTAL
        kinds, missing = self._counted(place, role)
        self._widen(kinds, missing, role, room, place)
        edges = len(kinds) * (2 if role == GRAND else 1)
        if not kinds or edges + len(missing) > room or self._facts + len(missing) > self._most_facts:
            return -1
        for code in missing:
            self._wait(place, code)
        node = self._close(place, role)
        self._budget -= edges
        self._fresh[place] = False
        self._total_waiting[place] = node
        self._waiting.append(node)
        return node

    def _counted(self, place: int, role: int) -> tuple[list[int], list[int]]:
        """The kinds that a total over the place as it stands must count, and the names it would lack."""
        shape, free = self.shape, self._free[place]
        kinds = list(dict.fromkeys([shape.kind[member] for member in self._members[place]]))
        if not self._deep:
            return kinds, []
        roles = (COUNT, AVERAGE) if role == GRAND else (COUNT,)
        codes = [part * KINDS + kind for kind in kinds for part in roles]
        return kinds, [code for code in codes if code in free]

    def _widen(self, kinds: list[int], missing: list[int], role: int, room: int, place: int) -> None:
        """Add new kinds to a total up to a drawn number, as far as edges, facts and names go."""
        draw, wanted = self._random(), 1
        while _TOTAL_KINDS[wanted - 1] < draw:
            wanted += 1
        new = [code for code in self._free[place] if code < KINDS and code not in kinds]
        step = 2 if role == GRAND else 1
        while new and len(kinds) < wanted:
            if step * (len(kinds) + 2) + len(missing) > room or self._facts + len(missing) + step > self._most_facts:
                return
            kind = new.pop(int(self._random() * len(new)))
            kinds.append(kind)
            missing.append(kind)
            if role == GRAND:
                missing.append(KINDS + kind)

    def _close(self, place: int, role: int) -> int:
        """Add the node of a total over a place's quantities and take the names that would change it."""
        shape = self.shape
        node = self._add(role, place, -1)
        self._closed[place] = True
        members = self._members[place]
        counts = [member for member in members if shape.role[member] == COUNT]
        if role == TOTAL:
            shape.parents[node] = counts
        else:
            average = {shape.kind[member]: member for member in members if shape.role[member] == AVERAGE}
            shape.parents[node] = [part for count in counts for part in (count, average[shape.kind[count]])]
        if role == GRAND or not self._deep:
            self._free[place].clear()
        else:
            kinds = {shape.kind[count] for count in counts}
            self._free[place] = [code for code in self._free[place] if code >= KINDS and code - KINDS in kinds]
        return node

    def _spare_parents(self, known: list[int], count: int, place: int) -> list[int]:
        """Distinct parents for a distractor at `place`: known quantities, or a total over another open place."""
        chosen: list[int] = []
        while len(chosen) < count:
            if self._random() < _SPARE_TOTAL:
                total = self._spare_total(place)
                if total >= 0:
                    known.append(total)
                    chosen.append(total)
                    continue
            parent = known[int(self._random() * len(known))]
            if parent not in chosen:
                chosen.append(parent)
        return chosen

    def _spare_total(self, place: int) -> int:
        """Close another place with a total that only distractors read; -1 where the place drawn cannot be."""
        other = int(self._random() * len(self._free))
        if other == place or not self._members[other] or self._closed[other]:
            return -1
        role = GRAND if self._deep and self._random() < _GRAND else TOTAL
        if self._counted(other, role)[1]:
            return -1
        node = self._close(other, role)
        self.shape.spare.append(node)
        return node
