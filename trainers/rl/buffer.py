"""The group buffer: which groups exist, what state each is in, and two guarantees about training on them.

Each group is consumed at most once, and none is consumed whose oldest token was drawn more than `max_staleness`
versions ago. It is bookkeeping only; the groups are held until they are consumed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from actors.records import RolloutGroup
from verifier.errors import Failure


class GroupState(StrEnum):
    """The state of a group; `DROPPED` is one in which nothing has an advantage, or without a judgement."""

    GENERATING = "generating"
    READY = "ready"
    CONSUMED = "consumed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a group belongs: its learner step, its place in that step, and the attempt at that place.

    The slots of a step are ordered by attempt: all places at the first attempt, then all at the second.
    """

    step: int
    place: int
    attempt: int

    @property
    def order(self) -> tuple[int, int]:
        """The sort key among the slots of a step."""
        return self.attempt, self.place


class StaleGroupError(Failure):
    """A group older than the staleness bound was about to be trained on; this is a bug in the loop."""


class GroupBuffer:
    """States of the groups of the steps in flight; a step is forgotten once it is consumed.

    With `exact`, a group of step t must be drawn wholly by version max(0, t - max_staleness).
    """

    def __init__(self, max_staleness: int, exact: bool = False) -> None:
        self.max_staleness = max_staleness
        self.exact = exact
        self.totals: Counter[GroupState] = Counter()
        self._states: dict[Slot, GroupState] = {}
        self._ready: dict[Slot, RolloutGroup] = {}

    def reserve(self, slot: Slot) -> None:
        """Record that `slot` is being generated; a slot is reserved once."""
        assert slot not in self._states, f"{slot} is reserved already"
        self._states[slot] = GroupState.GENERATING

    def ready(self, slot: Slot, group: RolloutGroup) -> None:
        """Hold a judged group for its step."""
        assert self._states[slot] is GroupState.GENERATING, f"{slot} is {self._states[slot]}"
        self._states[slot] = GroupState.READY
        self._ready[slot] = group

    def drop(self, slot: Slot) -> None:
        """Drop a group: it is counted and never trained on."""
        assert self._states[slot] is GroupState.GENERATING, f"{slot} is {self._states[slot]}"
        self._states[slot] = GroupState.DROPPED
        self.totals[GroupState.DROPPED] += 1

    def consume(self, step: int) -> list[RolloutGroup]:
        """The ready groups of `step` in slot order; afterwards the step is closed.

        Policy version t is the one that the learner holds before step t. Raises StaleGroupError if a token of a group
        was drawn by a version older than step - max_staleness or, with `exact`, by any version but that one.
        """
        assert GroupState.GENERATING not in {s for k, s in self._states.items() if k.step == step}
        slots = sorted((k for k in self._ready if k.step == step), key=lambda k: k.order)
        groups = [self._ready.pop(k) for k in slots]
        for group in groups:
            self._check(step, group)
        self.totals[GroupState.CONSUMED] += len(groups)
        self._states = {k: s for k, s in self._states.items() if k.step != step}
        return groups

    def _check(self, step: int, group: RolloutGroup) -> None:
        oldest = max(0, step - self.max_staleness)
        drawn_by = {group.oldest_version, *(r.completion.weight_version for r in group.rollouts)}
        if min(drawn_by) < oldest or (self.exact and drawn_by != {oldest}):
            raise StaleGroupError(f"group {group.group_id}: versions {sorted(drawn_by)} at step {step}")

    def counts(self) -> dict[str, int]:
        """How many groups are in each state now (consumed and dropped: since the start)."""
        alive = Counter(s for s in self._states.values() if s in (GroupState.GENERATING, GroupState.READY))
        return {s.value: alive[s] + self.totals[s] for s in GroupState}
