"""The gate: who gets a place and when, who is refused, and what is left when all have gone."""

from __future__ import annotations

import asyncio

import pytest

from serving.http.admission import Caller, Gate
from serving.http.errors import Unavailable

FLOOD, POLITE = Caller("flood"), Caller("polite")


class Holder:
    """A request that is in, or waits to be, and leaves when told to."""

    def __init__(self, gate: Gate, caller: Caller, cost: int = 100) -> None:
        self.inside = False
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._hold(gate, caller, cost))

    async def _hold(self, gate: Gate, caller: Caller, cost: int) -> None:
        async with gate.enter(caller, cost) as ticket, ticket.place():
            self.inside = True
            await self.go.wait()
        self.inside = False


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_key_that_holds_every_place_leaves_another_its_reserve_at_once():
    gate = Gate(running=8, queued=16)
    flood = [Holder(gate, FLOOD) for _ in range(20)]
    await settle()
    assert (gate.used, gate.depth) == (8, 12)
    polite = [Holder(gate, POLITE) for _ in range(4)]
    await settle()
    assert [one.inside for one in polite] == [True, True, False, False], "half of a fair share of 4"
    assert gate.used == 10
    for one in (*flood, *polite):
        one.go.set()
    await asyncio.gather(*(one.task for one in (*flood, *polite)))
    assert (gate.used, gate.depth) == (0, 0)


async def test_a_key_takes_no_more_than_its_share_while_another_is_active_or_was_a_second_ago():
    now = [0.0]
    gate = Gate(running=8, queued=40, clock=lambda: now[0])
    polite = Holder(gate, POLITE)
    await settle()
    flood = [Holder(gate, FLOOD) for _ in range(20)]
    await settle()
    assert sum(one.inside for one in flood) == 4, "half of the places, though three more are free"
    polite.go.set()
    await polite.task
    now[0] = 0.9
    late = Holder(gate, FLOOD)
    await settle()
    assert sum(one.inside for one in flood) == 4, "who asks one thing after another is away in between"
    now[0] = 1.0
    await asyncio.sleep(0.6)  # the gate looks by itself, though nobody comes or leaves
    assert sum(one.inside for one in flood) == 8
    for one in (*flood, late):
        one.go.set()
    await asyncio.gather(*(one.task for one in (*flood, late)))
    assert (gate.used, gate.depth) == (0, 0)


async def test_places_that_come_free_go_to_the_keys_in_turn_by_tokens_and_weight():
    async def order(first: Caller, second: Caller, costs: tuple[int, int]) -> list[str]:
        gate, came = Gate(running=1, queued=100), []
        blocker = Holder(gate, Caller("blocker"))
        await settle()

        async def ask(caller: Caller, cost: int) -> None:
            async with gate.enter(caller, cost) as ticket, ticket.place():
                came.append(caller.key)

        tasks = [asyncio.create_task(ask(first, costs[0])) for _ in range(12)]
        tasks += [asyncio.create_task(ask(second, costs[1])) for _ in range(12)]
        await settle()
        blocker.go.set()
        await asyncio.gather(*tasks)
        return came[:12]

    assert (await order(FLOOD, POLITE, (10, 10))).count("polite") == 6
    assert (await order(FLOOD, POLITE, (30, 10))).count("polite") == 9
    assert (await order(FLOOD, Caller("polite", weight=3), (10, 10))).count("polite") == 9


async def test_a_weight_that_the_key_file_changes_counts_from_the_next_request_on():
    gate = Gate(running=8, queued=40)
    held = [Holder(gate, Caller("raised", weight)) for weight in (1, 3)]
    await settle()
    others = [Holder(gate, POLITE) for _ in range(8)]
    held += [Holder(gate, Caller("raised", 3)) for _ in range(8)]
    await settle()
    assert sum(one.inside for one in held) == 6, "three quarters of the places"
    for one in (*held, *others):
        one.go.set()
    await asyncio.gather(*(one.task for one in (*held, *others)))
    assert (gate.used, gate.depth) == (0, 0)


async def test_a_full_queue_turns_out_the_newest_of_the_longest_line_and_no_polite_request():
    gate = Gate(running=2, queued=6)
    flood = [Holder(gate, FLOOD) for _ in range(8)]
    await settle()
    with pytest.raises(Unavailable):
        gate.require_room(FLOOD)
    held = Holder(gate, POLITE)
    await settle()
    polite = [Holder(gate, POLITE) for _ in range(2)]
    await settle()
    assert gate.depth == 6
    out = [one for one in flood if one.task.done()]
    assert out == flood[-len(out) :]
    assert all(isinstance(one.task.exception(), Unavailable) for one in out)
    assert not any(one.task.done() for one in (held, *polite))
    for one in (*flood, held, *polite):
        one.go.set()
    await asyncio.gather(*(one.task for one in (*flood, held, *polite)), return_exceptions=True)
    assert all(one.task.exception() is None for one in (held, *polite))
    assert (gate.used, gate.depth) == (0, 0)


async def test_requests_that_leave_while_they_wait_leave_no_place_taken():
    gate = Gate(running=2, queued=50)
    asked = [Holder(gate, caller) for caller in (FLOOD, POLITE) * 10]
    await settle()
    for one in asked[1::3]:
        one.task.cancel()
    for one in asked:
        one.go.set()
    await asyncio.gather(*(one.task for one in asked), return_exceptions=True)
    assert (gate.used, gate.depth) == (0, 0)
    assert await gate.drain(1.0)


async def test_a_key_alone_has_every_place_but_none_of_the_reserve():
    gate = Gate(running=4, queued=16)
    held = [Holder(gate, FLOOD) for _ in range(6)]
    await settle()
    assert gate.reserve == 2
    assert [one.inside for one in held] == [True] * 4 + [False] * 2
    held[0].go.set()
    await settle()
    assert [one.inside for one in held] == [False] + [True] * 4 + [False]
    for one in held:
        one.go.set()
    await asyncio.gather(*(one.task for one in held))


async def test_the_reserve_ends_at_half_a_fair_share_and_at_the_reserve_itself():
    gate = Gate(running=4, queued=16)
    flood = [Holder(gate, FLOOD) for _ in range(4)]
    heavy = [Holder(gate, Caller("heavy", weight=3)) for _ in range(3)]
    await settle()
    assert [one.inside for one in heavy] == [True, False, False], "half of 4 * 3 // 4 places is 1"
    others = [Holder(gate, Caller(name)) for name in ("a", "b")]
    await settle()
    assert [one.inside for one in others] == [True, False], "4 places and a reserve of 2 are taken"
    for one in (*flood, *heavy, *others):
        one.go.set()
    await asyncio.gather(*(one.task for one in (*flood, *heavy, *others)))
    assert (gate.used, gate.depth) == (0, 0)


async def test_a_request_waits_for_its_second_place_and_the_queue_does_not_count_it():
    gate = Gate(running=1, queued=1)
    came: list[str] = []

    async def two_places() -> None:
        async with gate.enter(FLOOD, 10) as ticket:
            async with ticket.place():
                second = asyncio.create_task(more(ticket))
                await settle()
                came.append("first")
                assert (gate.used, gate.depth) == (1, 0)
            await second

    async def more(ticket) -> None:
        async with ticket.place():
            came.append("second")

    await asyncio.wait_for(two_places(), 5)
    assert came == ["first", "second"]
    assert gate.used == 0


async def test_a_request_that_draws_nothing_gives_its_place_back_once():
    gate = Gate(running=1, queued=1)
    async with gate.enter(FLOOD, 10):
        assert gate.used == 1
    assert gate.used == 0
    async with gate.enter(FLOOD, 10) as ticket:
        async with ticket.place():
            pass
        assert gate.used == 0
    assert gate.used == 0


async def test_a_full_queue_refuses_a_key_whose_own_line_is_the_longest_for_its_weight():
    gate = Gate(running=1, queued=3)
    held = [Holder(gate, FLOOD) for _ in range(3)]
    await settle()
    heavy = Caller("heavy", weight=4)
    waiting = [Holder(gate, heavy)]
    await settle()
    assert gate.depth == 3
    gate.require_room(heavy)
    with pytest.raises(Unavailable, match="all 1 places are taken and 3 requests wait") as refused:
        gate.require_room(FLOOD)
    assert refused.value.own_code == "queue_full"
    waiting.append(Holder(gate, heavy))
    await settle()
    assert gate.depth == 3
    assert held[2].task.done()
    assert not held[1].task.done()
    assert not any(one.task.done() for one in waiting)
    for one in (*held, *waiting):
        one.go.set()
    await asyncio.gather(*(one.task for one in (*held, *waiting)), return_exceptions=True)
    assert (gate.used, gate.depth) == (0, 0)


async def test_a_gate_that_drains_refuses_new_requests_and_waits_for_those_inside():
    gate = Gate(running=2, queued=2)
    assert gate.closed is False
    held = Holder(gate, FLOOD)
    await settle()
    assert not await gate.drain(0.01)
    assert gate.closed
    with pytest.raises(Unavailable, match=r"^the server is shutting down$") as refused:
        gate.require_room(POLITE)
    assert (refused.value.own_code, refused.value.retry_after_s) == ("draining", 5)
    held.go.set()
    assert await gate.drain(5)


async def test_a_request_that_leaves_twice_gives_its_place_back_once():
    gate = Gate(running=2, queued=1)
    async with gate.enter(FLOOD, 10) as ticket:
        ticket.leave()
        ticket.leave()
        assert gate.used == 0
    assert gate.used == 0


async def test_places_given_back_can_be_taken_of_the_reserve_again_and_no_more_of_them():
    gate = Gate(running=8, queued=16)
    flood = [Holder(gate, FLOOD) for _ in range(8)]
    await settle()
    for _ in range(2):
        polite = [Holder(gate, POLITE) for _ in range(3)]
        await settle()
        assert [one.inside for one in polite] == [True, True, False], "half of a fair share of 4"
        polite[2].task.cancel()
        for one in polite:
            one.go.set()
        await asyncio.gather(*(one.task for one in polite), return_exceptions=True)
    for one in flood:
        one.go.set()
    await asyncio.gather(*(one.task for one in flood))


async def test_the_reserve_of_a_key_grows_with_its_weight():
    gate = Gate(running=8, queued=16)
    flood = [Holder(gate, FLOOD) for _ in range(8)]
    heavy = [Holder(gate, Caller("heavy", weight=3)) for _ in range(4)]
    await settle()
    assert [one.inside for one in heavy] == [True, True, True, False], "half of 8 * 3 // 4"
    for one in (*flood, *heavy):
        one.go.set()
    await asyncio.gather(*(one.task for one in (*flood, *heavy)))


async def test_a_request_that_gives_up_while_it_waits_leaves_its_line():
    gate = Gate(running=1, queued=4)
    await gate.take(FLOOD, 10, request=True)
    waiting = asyncio.create_task(gate.take(POLITE, 10, request=True))
    await settle()
    assert gate.depth == 1
    waiting.cancel()
    await settle()
    assert waiting.cancelled()
    assert (gate.used, gate.depth) == (1, 0)


async def test_a_request_that_gives_up_as_it_gets_its_place_gives_it_back():
    gate = Gate(running=1, queued=4)
    await gate.take(FLOOD, 10, request=True)
    waiting = asyncio.create_task(gate.take(POLITE, 10, request=True))
    await settle()
    gate.free(FLOOD)
    assert gate.used == 1
    waiting.cancel()
    await settle()
    assert waiting.cancelled()
    assert gate.used == 0


async def test_a_request_that_gives_up_as_it_is_refused_gives_nothing_back():
    gate = Gate(running=1, queued=2)
    await gate.take(FLOOD, 10, request=True)
    flood = [asyncio.create_task(gate.take(FLOOD, 10, request=True)) for _ in range(2)]
    await settle()
    newcomer = asyncio.create_task(gate.take(POLITE, 10, request=True))
    asyncio.get_running_loop().call_soon(flood[1].cancel)
    await settle()
    assert flood[1].cancelled()
    assert (gate.used, gate.depth) == (1, 2)
    for task in (flood[0], newcomer):
        task.cancel()
    await settle()


async def test_a_new_key_enters_a_full_queue_unless_its_line_would_be_the_longest():
    async def full(queued: int) -> tuple[Gate, list[Holder]]:
        gate = Gate(running=1, queued=queued)
        held = [Holder(gate, FLOOD) for _ in range(1 + queued)]
        await settle()
        return gate, held

    gate, held = await full(queued=2)
    gate.require_room(POLITE)
    for one in held:
        one.task.cancel()
    gate, held = await full(queued=1)
    with pytest.raises(Unavailable):
        gate.require_room(POLITE)
    for one in held:
        one.task.cancel()
    await settle()


async def test_among_keys_with_lines_of_the_same_length_the_one_that_asks_is_refused():
    gate = Gate(running=1, queued=4)
    held = [Holder(gate, caller) for caller in (FLOOD, FLOOD, FLOOD, POLITE, POLITE)]
    await settle()
    assert gate.depth == 4
    for caller in (FLOOD, POLITE):
        with pytest.raises(Unavailable):
            gate.require_room(caller)
    for one in held:
        one.task.cancel()
    await settle()


async def test_a_gate_without_a_queue_refuses_who_would_have_to_wait():
    gate = Gate(running=1, queued=0)
    await gate.take(FLOOD, 10, request=True)
    with pytest.raises(Unavailable, match=r"^all 1 places are taken and 0 requests wait$"):
        await gate.take(FLOOD, 10, request=True)


async def test_requests_that_hang_up_leave_a_long_line_without_a_look_at_the_others():
    compared = 0

    class Cost(int):
        """Counts how often a wait is compared with another by what it costs."""

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return int(self) == other

        __hash__ = int.__hash__

    gate = Gate(running=1, queued=400)
    await gate.take(FLOOD, 10, request=True)
    waiting = [asyncio.create_task(gate.take(FLOOD, Cost(10), request=i % 2 == 0)) for i in range(400)]
    await settle()
    assert gate.depth == 200
    for task in reversed(waiting):
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (gate.used, gate.depth) == (1, 0)
    assert compared == 0


async def test_a_full_queue_turns_out_the_newest_request_and_no_wait_for_a_further_place():
    gate = Gate(running=1, queued=2)
    await gate.take(FLOOD, 10, request=True)
    requests = [asyncio.create_task(gate.take(FLOOD, 10, request=True)) for _ in range(2)]
    further = asyncio.create_task(gate.take(FLOOD, 10, request=False))
    await settle()
    polite = asyncio.create_task(gate.take(POLITE, 10, request=True))
    await settle()
    assert [task.done() for task in (*requests, further, polite)] == [False, True, False, False]
    assert isinstance(requests[1].exception(), Unavailable)
    for task in (requests[0], further, polite):
        task.cancel()
    await settle()
    assert (gate.used, gate.depth) == (1, 0)


async def test_a_ticket_says_how_many_places_a_request_can_hold():
    async with Gate(running=3, queued=1).enter(FLOOD, 10) as ticket:
        assert ticket.places == 3
