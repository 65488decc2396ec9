"""The pure state machine of a fleet, driven by hand and by random events."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.workers.states import ALIVE, Action, HeldWeights, NoWorkersLeft, RestartPolicy, State, WorkerTable

POLICY = RestartPolicy(max_restarts=2, backoff_s=1.0, drain_s=10.0)


def held(version: int, weight_hash: str = "") -> HeldWeights:
    return HeldWeights(version, weight_hash)


def ready_table(count: int, version: int = 1) -> WorkerTable:
    table = WorkerTable(POLICY)
    table.resize(count, 0.0)
    for action in table.plan(0.0):
        table.started(action.slot, action.incarnation, 0.0)
        assert table.proved(action.slot, action.incarnation, held(version), held(version), 0.0)
    return table


def states(table: WorkerTable) -> list[State]:
    return [table.members[slot].state for slot in sorted(table.members)]


def test_asking_for_workers_twice_starts_them_once() -> None:
    table = WorkerTable(POLICY)
    table.resize(2, 0.0)
    assert [a.kind for a in table.plan(0.0)] == ["start", "start"]
    table.resize(2, 1.0)
    assert table.plan(1.0) == []


def test_a_worker_gets_work_only_after_it_proved_the_wanted_version() -> None:
    table = WorkerTable(POLICY)
    table.resize(1, 0.0)
    (start,) = table.plan(0.0)
    assert table.take() is None
    table.started(start.slot, start.incarnation, 1.0)
    assert table.take() is None
    assert not table.proved(start.slot, start.incarnation, held(4), held(5), 2.0)
    assert table.take() is None
    assert table.proved(start.slot, start.incarnation, held(5), held(5), 3.0)
    assert table.take() is not None


def test_the_same_number_with_other_weights_is_another_version() -> None:
    table = ready_table(1)
    incarnation = table.members[0].incarnation
    assert not table.proved(0, incarnation, held(1), held(1, "other"), 1.0)
    assert table.take() is None
    assert table.proved(0, incarnation, held(1, "other"), held(1, "other"), 2.0)


def test_work_goes_to_the_least_loaded() -> None:
    table = ready_table(2)
    taken = [table.take() for _ in range(4)]
    assert [m.slot for m in taken if m] == [0, 1, 0, 1]
    table.give_back(1, table.members[1].incarnation)
    chosen = table.take()
    assert chosen is not None
    assert chosen.slot == 1


def test_a_lost_worker_comes_back_after_a_growing_pause_and_never_straight_to_ready() -> None:
    table = ready_table(1)
    pauses = []
    now = 100.0
    for _ in range(POLICY.max_restarts):
        assert table.lost(0, table.members[0].incarnation, "killed", now)
        due = table.next_due()
        assert due is not None
        pauses.append(due - now)
        assert table.plan(due - 0.01) == []
        (start,) = table.plan(due)
        assert states(table) == [State.STARTING]
        table.started(start.slot, start.incarnation, due)
        now = due
    assert pauses == [1.0, 2.0]
    assert table.restarts == 2


def test_a_crash_loop_ends_in_retirement_and_the_first_cause_is_told() -> None:
    table = ready_table(1)
    now = 0.0
    for cause in ("the first", "the second", "the third"):
        table.lost(0, table.members[0].incarnation, cause, now)
        now = table.next_due() or now
        table.plan(now)
    assert states(table) == [State.RETIRED]
    with pytest.raises(NoWorkersLeft, match="the first"):
        table.take()


def test_what_was_forgiven_is_not_told_when_no_worker_is_left() -> None:
    table = ready_table(1)
    now = 0.0
    for cause in ("out of memory, long ago", "no space left", "no space left, again", "no space left, still"):
        table.lost(0, table.members[0].incarnation, cause, now)
        now = table.next_due() or now
        for start in table.plan(now):
            table.started(0, start.incarnation, now)
            table.proved(0, start.incarnation, held(1), held(1), now)
        now += 400.0 if "long ago" in cause else 0.0
    with pytest.raises(NoWorkersLeft, match=r"^no space left$"):
        table.take()


def test_of_several_workers_the_first_to_be_given_up_says_why_none_is_left() -> None:
    table = ready_table(2)
    for slot, now in ((1, 5.0), (0, 6.0)):
        table.members[slot].failures = POLICY.max_restarts
        table.members[slot].first_cause = f"of {slot}"
        table.lost(slot, table.members[slot].incarnation, "the last", now)
    with pytest.raises(NoWorkersLeft, match=r"^of 1$"):
        table.take()


def test_the_pause_before_a_replacement_stops_growing() -> None:
    table = WorkerTable(RestartPolicy(max_restarts=5000, backoff_s=0.5, drain_s=1.0))
    table.resize(1, 0.0)
    for failures, pause in ((9, 256.0), (10, 512.0), (11, 512.0), (4999, 512.0)):
        (start,) = table.plan(table.next_due() or 0.0)
        table.members[0].failures = failures
        table.lost(0, start.incarnation, "killed", 7.0)
        assert table.next_due() == 7.0 + pause


def test_one_retired_worker_does_not_stop_the_others() -> None:
    table = ready_table(2)
    for _ in range(POLICY.max_restarts + 1):
        table.lost(1, table.members[1].incarnation, "bad", 0.0)
        table.plan(1000.0)
    assert states(table) == [State.READY, State.RETIRED]
    assert table.take() is not None


def test_a_worker_that_was_ready_for_long_starts_with_a_clean_record() -> None:
    table = ready_table(1)
    table.members[0].failures = POLICY.max_restarts
    table.lost(0, table.members[0].incarnation, "killed", 301.0)
    assert table.members[0].failures == 1


def test_news_of_an_earlier_incarnation_is_ignored() -> None:
    table = ready_table(1)
    old = table.members[0].incarnation
    table.lost(0, old, "killed", 0.0)
    (start,) = table.plan(10.0)
    table.started(0, old, 10.0)
    assert not table.proved(0, old, held(1), held(1), 10.0)
    assert not table.lost(0, old, "again", 10.0)
    assert states(table) == [State.STARTING]
    assert start.incarnation != old


def test_a_worker_that_leaves_finishes_its_work_first() -> None:
    table = ready_table(2)
    busy = [table.take() for _ in range(2)]
    table.resize(1, 5.0)
    assert table.plan(5.0) == []
    assert not table.settled
    leaving = busy[1]
    assert leaving is not None
    table.give_back(leaving.slot, leaving.incarnation)
    assert table.plan(6.0) == [Action("stop", 1, leaving.incarnation)]
    assert table.settled


def test_a_worker_that_does_not_finish_in_time_is_stopped_all_the_same() -> None:
    table = ready_table(2)
    for _ in range(2):
        table.take()
    table.resize(1, 5.0)
    assert table.next_due() == 15.0
    assert [a.kind for a in table.plan(15.0)] == ["stop"]


def test_the_worker_of_least_use_leaves_first() -> None:
    table = ready_table(3)
    table.lost(0, table.members[0].incarnation, "killed", 0.0)
    table.resize(2, 0.0)
    assert sorted(table.members) == [1, 2]
    table.resize(1, 0.0)
    assert sorted(table.members) == [1]


def test_a_doubted_worker_gets_no_new_work_until_it_answers() -> None:
    table = ready_table(1)
    incarnation = table.members[0].incarnation
    table.doubted(0, incarnation, 1.0)
    assert table.take() is None
    table.cleared(0, incarnation, 2.0)
    assert table.take() is not None


def test_a_fleet_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a fleet keeps at least one worker, not 0$"):
        WorkerTable(POLICY).resize(0, 0.0)


def test_a_worker_is_forgiven_when_it_was_ready_for_five_minutes_and_only_then() -> None:
    for lost_at, failures in ((399.0, 3), (400.0, 1)):
        table = ready_table(1)
        member = table.members[0]
        table.doubted(0, member.incarnation, 50.0)
        assert (member.state, member.since) == (State.SUSPECT, 50.0)
        table.cleared(0, member.incarnation, 100.0)
        assert (member.state, member.since) == (State.READY, 100.0)
        member.failures = 2
        table.lost(0, member.incarnation, "killed", lost_at)
        assert member.failures == failures


def test_a_worker_that_was_ready_for_long_and_then_hung_is_forgiven_and_the_time_that_it_hung_does_not_count() -> None:
    for doubted_at, failures in ((299.0, 3), (300.0, 1)):
        table = ready_table(1)
        member = table.members[0]
        member.failures = 2
        table.doubted(0, member.incarnation, doubted_at)
        table.lost(0, member.incarnation, "hung", 1000.0)
        assert member.failures == failures


def test_a_worker_that_is_not_ready_is_not_forgiven_however_long_it_took() -> None:
    table = WorkerTable(POLICY)
    table.resize(1, 0.0)
    (start,) = table.plan(0.0)
    table.members[0].failures = 1
    table.lost(0, start.incarnation, "did not start", 1000.0)
    assert table.members[0].failures == 2


def test_what_a_lost_worker_held_and_did_is_forgotten_and_its_cause_kept() -> None:
    table = ready_table(1)
    member = table.members[0]
    table.take()
    assert table.lost(0, member.incarnation, "killed", 7.0)
    assert (member.state, member.since, member.open, member.held) == (State.DEAD, 7.0, 0, None)
    assert (member.cause, member.first_cause) == ("killed", "killed")
    table.plan(8.0)
    assert (member.state, member.since) == (State.STARTING, 8.0)
    table.lost(0, member.incarnation, "killed again", 9.0)
    assert (member.cause, member.first_cause) == ("killed again", "killed")


def test_a_worker_that_is_given_up_says_since_when() -> None:
    table = ready_table(1)
    table.members[0].failures = POLICY.max_restarts
    table.lost(0, table.members[0].incarnation, "killed", 7.0)
    assert (table.members[0].state, table.members[0].since) == (State.RETIRED, 7.0)
    assert table.exhausted
    assert table.settled
    assert table.next_due() is None
    assert table.plan(1e9) == []


def test_a_worker_that_leaves_and_is_lost_is_not_stopped_and_the_others_that_leave_are() -> None:
    table = ready_table(3)
    for _ in range(3):
        table.take()
    table.resize(1, 5.0)
    assert [(m.slot, m.state, m.since) for m in table.everyone()] == [
        (0, State.READY, 0.0),
        (2, State.DRAINING, 5.0),
        (1, State.DRAINING, 5.0),
    ]
    assert not table.lost(2, next(m for m in table.everyone() if m.slot == 2).incarnation, "killed", 6.0)
    assert [a.slot for a in table.plan(15.0)] == [1]


def test_a_replaced_worker_starts_again_at_once_and_is_not_blamed() -> None:
    table = ready_table(2)
    member = table.members[0]
    table.take()
    table.replaced(0, member.incarnation, "its judge hung", 7.0)
    assert (member.state, member.since, member.restart_at) == (State.DEAD, 7.0, 7.0)
    assert (member.open, member.held, member.cause, member.failures) == (0, None, "its judge hung", 0)
    assert member.first_cause is None
    assert table.next_due() == 7.0
    assert table.plan(7.0) == [Action("start", 0, 3)]
    assert table.restarts == 1
    table.replaced(0, 1, "news of an earlier one", 8.0)
    assert member.state is State.STARTING


def test_a_worker_that_leaves_and_is_replaced_is_only_gone() -> None:
    table = ready_table(3)
    for _ in range(3):
        table.take()
    leaving = table.members[2].incarnation
    table.resize(1, 5.0)
    table.replaced(2, leaving, "its judge hung", 6.0)
    assert [a.slot for a in table.plan(15.0)] == [1]
    assert sorted(table.members) == [0]


def test_more_work_is_never_given_back_than_was_taken() -> None:
    table = ready_table(2)
    member = table.members[0]
    table.take()
    table.give_back(0, member.incarnation + 99)
    assert member.open == 1
    table.give_back(0, member.incarnation)
    table.give_back(0, member.incarnation)
    assert member.open == 0


def test_the_worker_with_the_least_use_leaves_first_in_every_state() -> None:
    table = ready_table(6)
    slots = {m.slot: m for m in table.everyone()}
    for slot, state in enumerate(
        (State.READY, State.SUSPECT, State.SYNCING, State.STARTING, State.DEAD, State.RETIRED)
    ):
        slots[slot].state = state
    for count in range(5, 0, -1):
        table.resize(count, 1.0)
        assert sorted(table.members) == list(range(count))


def test_among_workers_of_equal_use_the_newest_leaves_and_its_slot_is_filled_again() -> None:
    table = ready_table(3)
    table.resize(2, 1.0)
    assert sorted(table.members) == [0, 1]
    table.members.pop(0)
    table.resize(3, 2.0)
    assert sorted(table.members) == [0, 1, 2]
    assert [(m.since, m.restart_at) for slot, m in sorted(table.members.items()) if slot != 1] == [(2.0, 2.0)] * 2


def test_a_worker_that_waits_to_start_is_due_then_and_not_settled() -> None:
    table = WorkerTable(POLICY)
    table.resize(1, 3.0)
    assert table.next_due() == 3.0
    assert not table.settled
    assert table.plan(2.9) == []
    assert table.plan(3.0) == [Action("start", 0, 1)]
    assert table.restarts == 0
    assert table.next_due() is None
    assert not table.settled


def test_a_proof_of_other_weights_sends_a_worker_back_and_a_suspect_stays_one() -> None:
    table = ready_table(1)
    member = table.members[0]
    assert not table.proved(0, member.incarnation, held(1), held(2), 4.0)
    assert (member.state, member.since, member.held) == (State.SYNCING, 4.0, held(1))
    assert table.proved(0, member.incarnation, held(2), held(2), 5.0)
    assert (member.state, member.since, member.held) == (State.READY, 5.0, held(2))
    assert table.proved(0, member.incarnation, held(2), held(2), 6.0)
    assert member.since == 5.0
    table.doubted(0, member.incarnation, 7.0)
    assert not table.proved(0, member.incarnation, held(2), held(2), 8.0)
    assert member.state is State.SUSPECT
    assert not table.proved(0, member.incarnation, held(2), held(3), 9.0)
    assert (member.state, member.since) == (State.SYNCING, 9.0)


def test_an_event_in_the_wrong_state_changes_nothing() -> None:
    table = WorkerTable(POLICY)
    table.resize(1, 0.0)
    (start,) = table.plan(0.0)
    for event in (table.doubted, table.cleared):
        event(0, start.incarnation, 1.0)
    assert not table.proved(0, start.incarnation, held(1), held(1), 1.0)
    assert states(table) == [State.STARTING]
    table.started(0, start.incarnation, 2.0)
    table.started(0, start.incarnation, 3.0)
    assert (states(table), table.members[0].since) == ([State.SYNCING], 2.0)
    assert not table.lost(9, start.incarnation, "of no slot", 4.0)


def test_a_table_without_workers_has_none_to_wait_for() -> None:
    with pytest.raises(NoWorkersLeft, match=r"^no worker was asked for$"):
        WorkerTable(POLICY).take()


class RandomFleet(RuleBasedStateMachine):
    """Any order of events keeps the promises that the table is built on."""

    def __init__(self) -> None:
        super().__init__()
        self.table = WorkerTable(POLICY)
        self.now = 0.0
        self.wanted = 1
        self.starts: list[Action] = []
        self.proofs: dict[int, int] = {}
        self.table.resize(2, 0.0)

    @rule(count=st.integers(1, 5))
    def resize(self, count: int) -> None:
        self.table.resize(count, self.now)
        assert len(self.table.members) == count

    @rule(seconds=st.floats(0, 20))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.starts += [a for a in self.table.plan(self.now) if a.kind == "start"]

    @rule()
    def publish(self) -> None:
        self.wanted += 1

    @precondition(lambda self: self.starts)
    @rule(pick=st.integers(0, 100), stale=st.booleans())
    def come_up(self, pick: int, stale: bool) -> None:
        start = self.starts[pick % len(self.starts)]
        self.table.started(start.slot, start.incarnation, self.now)
        version = self.wanted - stale
        self.proofs[start.incarnation] = version
        self.table.proved(start.slot, start.incarnation, held(version), held(self.wanted), self.now)

    @precondition(lambda self: self.starts)
    @rule(pick=st.integers(0, 100))
    def lose(self, pick: int) -> None:
        start = self.starts[pick % len(self.starts)]
        self.table.lost(start.slot, start.incarnation, "chance", self.now)

    @rule()
    def work(self) -> None:
        try:
            member = self.table.take()
        except NoWorkersLeft:
            assert self.table.exhausted
            return
        if member is not None:
            assert member.state is State.READY
            assert held(self.proofs[member.incarnation]) == member.held

    @invariant()
    def incarnations_are_never_shared(self) -> None:
        alive = [m.incarnation for m in self.table.everyone() if m.state in ALIVE]
        assert len(alive) == len(set(alive))

    @invariant()
    def nobody_fails_more_often_than_allowed(self) -> None:
        for member in self.table.members.values():
            assert member.failures <= POLICY.max_restarts + 1
            assert (member.state is State.RETIRED) == (member.failures > POLICY.max_restarts)


test_random_events_keep_the_promises = RandomFleet.TestCase
