"""The queue between the controller and the learner's ranks, as the plain asyncio object it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from trainers.learner_group.commands import CommandQueue, LearnerLost, Save, Stop

VERB = Save(Path("here"))
STALL_S = 60.0


async def settled(task: asyncio.Task) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return task.done()


async def up(workers: int = 2) -> CommandQueue:
    queue = CommandQueue(workers)
    for rank in range(workers):
        await queue.join(rank, 100 + rank)
    return queue


async def test_whoever_waits_for_the_ranks_goes_on_when_all_are_up():
    queue = CommandQueue(2)
    await queue.join(0, 100)
    waiting = asyncio.create_task(queue.joined())
    assert not await settled(waiting)
    await queue.join(1, 101)
    assert await waiting is None
    assert await queue.pids() == (100, 101)


async def test_a_rank_hears_the_verbs_that_were_given_after_it_joined():
    queue = await up(1)
    asked = asyncio.create_task(queue.ask(VERB, STALL_S))
    assert await queue.verb_after(0) == (1, VERB)
    asked.cancel()


async def test_the_answer_is_rank_0s_once_all_have_answered():
    queue = await up()
    asked = asyncio.create_task(queue.ask(VERB, STALL_S))
    serial, _ = await queue.verb_after(0)
    await queue.answer(0, serial, "zero")
    assert not await settled(asked)
    await queue.answer(1, serial, "one")
    assert await asked == "zero"


async def test_an_error_of_any_rank_is_the_answer():
    queue = await up()
    asked = asyncio.create_task(queue.ask(VERB, STALL_S))
    serial, _ = await queue.verb_after(0)
    await queue.answer(0, serial, "zero")
    await queue.answer(1, serial, OSError("disk full on rank 1"))
    assert "disk full on rank 1" in str(await asked)


async def test_the_end_names_the_error_that_caused_it_and_answers_every_verb():
    queue = await up()
    asked = asyncio.create_task(queue.ask(VERB, STALL_S))
    await queue.verb_after(0)
    await queue.failed(1, "RuntimeError: out of memory")
    await queue.close("a learner process died")
    assert "a learner process died (rank 1: RuntimeError: out of memory)" in str(await asked)
    assert "out of memory" in str(await queue.ask(VERB, STALL_S))
    assert await queue.over()


async def test_an_answer_after_the_end_is_dropped():
    queue = await up(1)
    asked = asyncio.create_task(queue.ask(VERB, STALL_S))
    serial, _ = await queue.verb_after(0)
    await queue.close("killed")
    await queue.answer(0, serial, "late")
    assert isinstance(await asked, LearnerLost)


async def test_ranks_that_give_no_sign_end_the_wait_and_the_life():
    queue = await up(1)
    assert "no sign of a rank in 0.05 s of save" in str(await queue.ask(VERB, 0.05))
    assert "no sign of a rank" in str(await queue.ask(VERB, STALL_S))


async def test_a_sign_of_a_rank_prolongs_the_wait():
    queue = await up(1)
    asked = asyncio.create_task(queue.ask(VERB, 0.4))
    for _ in range(10):
        await asyncio.sleep(0.08)
        await queue.interrupted()
    await queue.answer(0, 1, "done")
    assert await asked == "done"


async def test_a_rank_that_joins_after_the_stop_still_hears_it():
    queue = CommandQueue(1)
    await queue.post(Stop())
    last = await queue.join(0, 200)
    _, verb = await queue.verb_after(last)
    assert verb == Stop()


async def test_the_end_of_the_workers_answers_whoever_waits_with_the_cause():
    queue = await up()
    asked = asyncio.create_task(queue.ask(VERB, STALL_S))
    assert not await settled(asked)
    await queue.close("out of luck")
    assert "out of luck" in str(await asked)
    assert "out of luck" in str(await queue.ask(VERB, STALL_S))
    assert "out of luck" in str(await queue.joined())


async def test_progress_is_passed_on_until_the_last_of_it():
    queue = CommandQueue(1)
    waiting = asyncio.create_task(queue.progress_after(0))
    assert not await settled(waiting)
    await queue.tell("first")  # type: ignore[arg-type]
    assert await waiting == ["first"]
    end = asyncio.create_task(queue.progress_after(1))
    await queue.told()
    assert await end == []
