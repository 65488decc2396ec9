"""The queue between the controller and the learner's ranks, as the plain asyncio object it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from trainers.learner_group.commands import CommandQueue, LearnerLost, Save, Stop

VERB = Save(Path("here"))


async def settled(task: asyncio.Task) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return task.done()


async def up(workers: int = 2) -> CommandQueue:
    queue = CommandQueue(workers)
    for rank in range(workers):
        await queue.join(rank, 100 + rank)
    return queue


async def test_a_verb_waits_for_all_ranks_to_come_up():
    queue = CommandQueue(2)
    await queue.join(0, 100)
    asked = asyncio.create_task(queue.ask(VERB, 1))
    assert not await settled(asked)
    await queue.join(1, 101)
    serial, verb = await queue.verb_after(0)
    assert verb is VERB
    assert await queue.pids() == (100, 101)
    asked.cancel()
    assert serial == 1


async def test_the_answer_is_rank_0s_once_all_have_answered():
    queue = await up()
    asked = asyncio.create_task(queue.ask(VERB, 1))
    serial, _ = await queue.verb_after(0)
    await queue.answer(0, serial, "zero")
    assert not await settled(asked)
    await queue.answer(1, serial, "one")
    assert await asked == "zero"


async def test_an_error_of_any_rank_is_the_answer():
    queue = await up()
    asked = asyncio.create_task(queue.ask(VERB, 1))
    serial, _ = await queue.verb_after(0)
    await queue.answer(0, serial, "zero")
    await queue.answer(1, serial, OSError("disk full on rank 1"))
    assert "disk full on rank 1" in str(await asked)


async def test_a_restart_names_the_error_that_caused_it():
    queue = await up()
    asked = asyncio.create_task(queue.ask(VERB, 1))
    await queue.verb_after(0)
    await queue.failed(1, "RuntimeError: out of memory")
    for rank in (0, 1):
        await queue.join(rank, 200 + rank)
    assert "rank 1: RuntimeError: out of memory" in str(await asked)
    assert "out of memory" in str(await queue.ask(VERB, 1))


async def test_a_rank_that_comes_back_loses_the_open_verb_and_does_not_run_it():
    queue = await up()
    asked = asyncio.create_task(queue.ask(VERB, 1))
    assert not await settled(asked)
    for rank in (0, 1):
        assert await queue.join(rank, 200 + rank) == 1
    assert isinstance(await asked, LearnerLost)
    assert await queue.joined() == 2
    assert await queue.pids() == (200, 201)


async def test_an_answer_from_before_the_restart_is_dropped():
    queue = await up(1)
    asked = asyncio.create_task(queue.ask(VERB, 1))
    serial, _ = await queue.verb_after(0)
    await queue.join(0, 200)
    await queue.answer(0, serial, "late")
    assert isinstance(await asked, LearnerLost)


async def test_a_restart_between_verbs_is_told_to_whoever_asks_for_the_life_before():
    """A restarted group holds the weights it began with: a step on them would undo all that was learned."""
    queue = await up(1)
    await queue.join(0, 200)
    assert isinstance(await queue.ask(VERB, 1), LearnerLost)
    assert isinstance(await queue.ask(VERB, 1), LearnerLost)
    asked = asyncio.create_task(queue.ask(VERB, 2))
    serial, _ = await queue.verb_after(0)
    await queue.answer(0, serial, "done")
    assert await asked == "done"


async def test_a_rank_that_comes_back_after_the_stop_still_hears_it():
    queue = await up(1)
    await queue.post(Stop())
    last = await queue.join(0, 200)
    _, verb = await queue.verb_after(last)
    assert verb == Stop()


async def test_the_end_of_the_workers_answers_whoever_waits_with_the_cause():
    queue = await up()
    asked = asyncio.create_task(queue.ask(VERB, 1))
    assert not await settled(asked)
    await queue.close("out of luck")
    assert "out of luck" in str(await asked)
    assert "out of luck" in str(await queue.ask(VERB, 1))
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
