"""Groups are consumed once, in order, and never stale."""

from __future__ import annotations

import pytest

from actors.records import Completion, Rollout, RolloutGroup
from tests.tasks import ITEM
from trainers.rl.buffer import GroupBuffer, Slot, StaleGroupError


def group(number: int, version: int) -> RolloutGroup:
    completion = Completion(0, (1,), (0.0,), "stop", version, version)
    return RolloutGroup(number, ITEM, (1,), (Rollout(completion, "", None, 1.0),))


def test_groups_come_out_in_the_order_of_their_places_whatever_the_order_they_finished_in():
    buffer = GroupBuffer(max_staleness=0)
    for place in (0, 1, 2):
        buffer.reserve(Slot(5, place, 0))
    for place in (2, 0, 1):
        buffer.ready(Slot(5, place, 0), group(place, version=5))
    assert [g.group_id for g in buffer.consume(5)] == [0, 1, 2]


def test_a_group_is_consumed_once_and_a_dropped_one_never():
    buffer = GroupBuffer(max_staleness=0)
    first, refill = Slot(0, 0, 0), Slot(0, 0, 1)
    buffer.reserve(first)
    buffer.drop(first)
    buffer.reserve(refill)
    buffer.ready(refill, group(1, version=0))
    assert [g.group_id for g in buffer.consume(0)] == [1]
    assert buffer.consume(0) == []
    assert buffer.counts() == {"generating": 0, "ready": 0, "consumed": 1, "dropped": 1}


def test_the_counts_say_how_many_groups_are_in_each_state():
    buffer = GroupBuffer(max_staleness=0)
    slots = [Slot(0, place, 0) for place in range(5)]
    for slot in slots:
        buffer.reserve(slot)
    for slot in slots[:2]:
        buffer.drop(slot)
    buffer.ready(slots[2], group(0, version=0))
    assert buffer.counts() == {"generating": 2, "ready": 1, "consumed": 0, "dropped": 2}


def test_a_group_that_is_ready_or_dropped_changes_no_more_and_none_is_consumed_before_all_are():
    buffer = GroupBuffer(max_staleness=0)
    ready, dropped, drawn = slots = [Slot(0, place, 0) for place in range(3)]
    for slot in slots:
        buffer.reserve(slot)
    buffer.ready(ready, group(0, version=0))
    buffer.drop(dropped)
    for slot, state in ((ready, "ready"), (dropped, "dropped")):
        with pytest.raises(AssertionError, match=f"is {state}"):
            buffer.ready(slot, group(1, version=0))
        with pytest.raises(AssertionError, match=f"is {state}"):
            buffer.drop(slot)
    with pytest.raises(AssertionError):
        buffer.consume(0)
    buffer.drop(drawn)
    assert len(buffer.consume(0)) == 1


@pytest.mark.parametrize(("version", "fits"), [(4, True), (5, False), (3, False)])
def test_in_deterministic_order_a_group_is_drawn_by_one_version_alone(version, fits):
    buffer = GroupBuffer(max_staleness=1, exact=True)
    buffer.reserve(Slot(5, 0, 0))
    buffer.ready(Slot(5, 0, 0), group(7, version))
    if fits:
        assert len(buffer.consume(5)) == 1
    else:
        with pytest.raises(StaleGroupError, match=rf"^group 7: versions \[{version}\] at step 5$"):
            buffer.consume(5)


def test_reserving_a_slot_twice_is_our_own_mistake():
    buffer = GroupBuffer(max_staleness=0)
    buffer.reserve(Slot(0, 0, 0))
    with pytest.raises(AssertionError):
        buffer.reserve(Slot(0, 0, 0))


@pytest.mark.parametrize(("bound", "version", "stale"), [(0, 5, False), (0, 4, True), (1, 4, False), (1, 3, True)])
def test_a_group_older_than_the_bound_never_reaches_the_learner(bound, version, stale):
    buffer = GroupBuffer(max_staleness=bound)
    buffer.reserve(Slot(5, 0, 0))
    buffer.ready(Slot(5, 0, 0), group(0, version))
    if stale:
        with pytest.raises(StaleGroupError):
            buffer.consume(5)
    else:
        assert len(buffer.consume(5)) == 1


def test_steps_in_flight_do_not_mix():
    buffer = GroupBuffer(max_staleness=1)
    for step in (0, 1):
        buffer.reserve(Slot(step, 0, 0))
        buffer.ready(Slot(step, 0, 0), group(step, version=step))
    assert [g.group_id for g in buffer.consume(0)] == [0]
    assert [g.group_id for g in buffer.consume(1)] == [1]
