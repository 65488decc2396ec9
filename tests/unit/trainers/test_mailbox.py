"""The mailbox between the controller and the learner's ranks, as the plain asyncio object it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from trainers.mailbox import LearnerLost, Mailbox, Save, Stop

VERB = Save(Path("here"))


async def settled(task: asyncio.Task) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return task.done()


async def up(workers: int = 2) -> Mailbox:
    mailbox = Mailbox(workers)
    for rank in range(workers):
        await mailbox.join(rank, 100 + rank)
    return mailbox


async def test_a_verb_waits_for_all_ranks_to_come_up():
    mailbox = Mailbox(2)
    await mailbox.join(0, 100)
    asked = asyncio.create_task(mailbox.ask(VERB, 1))
    assert not await settled(asked)
    await mailbox.join(1, 101)
    serial, verb = await mailbox.verb_after(0)
    assert verb is VERB
    assert await mailbox.pids() == (100, 101)
    asked.cancel()
    assert serial == 1


async def test_the_answer_is_rank_0s_once_all_have_answered():
    mailbox = await up()
    asked = asyncio.create_task(mailbox.ask(VERB, 1))
    serial, _ = await mailbox.verb_after(0)
    await mailbox.answer(0, serial, "zero")
    assert not await settled(asked)
    await mailbox.answer(1, serial, "one")
    assert await asked == "zero"


async def test_a_rank_that_comes_back_loses_the_open_verb_and_does_not_run_it():
    mailbox = await up()
    asked = asyncio.create_task(mailbox.ask(VERB, 1))
    assert not await settled(asked)
    for rank in (0, 1):
        assert await mailbox.join(rank, 200 + rank) == 1
    assert isinstance(await asked, LearnerLost)
    assert await mailbox.joined() == 2
    assert await mailbox.pids() == (200, 201)


async def test_an_answer_from_before_the_restart_is_dropped():
    mailbox = await up(1)
    asked = asyncio.create_task(mailbox.ask(VERB, 1))
    serial, _ = await mailbox.verb_after(0)
    await mailbox.join(0, 200)
    await mailbox.answer(0, serial, "late")
    assert isinstance(await asked, LearnerLost)


async def test_a_restart_between_verbs_is_told_to_whoever_asks_for_the_life_before():
    """A restarted group holds the weights it began with: a step on them would undo all that was learned."""
    mailbox = await up(1)
    await mailbox.join(0, 200)
    assert isinstance(await mailbox.ask(VERB, 1), LearnerLost)
    assert isinstance(await mailbox.ask(VERB, 1), LearnerLost)
    asked = asyncio.create_task(mailbox.ask(VERB, 2))
    serial, _ = await mailbox.verb_after(0)
    await mailbox.answer(0, serial, "done")
    assert await asked == "done"


async def test_a_rank_that_comes_back_after_the_stop_still_hears_it():
    mailbox = await up(1)
    await mailbox.post(Stop())
    last = await mailbox.join(0, 200)
    _, verb = await mailbox.verb_after(last)
    assert verb == Stop()


async def test_the_end_of_the_workers_answers_whoever_waits_with_the_cause():
    mailbox = await up()
    asked = asyncio.create_task(mailbox.ask(VERB, 1))
    assert not await settled(asked)
    await mailbox.close("out of luck")
    assert "out of luck" in str(await asked)
    assert "out of luck" in str(await mailbox.ask(VERB, 1))
    assert "out of luck" in str(await mailbox.joined())


async def test_progress_is_passed_on_until_the_last_of_it():
    mailbox = Mailbox(1)
    waiting = asyncio.create_task(mailbox.progress_after(0))
    assert not await settled(waiting)
    await mailbox.tell("first")  # type: ignore[arg-type]
    assert await waiting == ["first"]
    end = asyncio.create_task(mailbox.progress_after(1))
    await mailbox.told()
    assert await end == []
