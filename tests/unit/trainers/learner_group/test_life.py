"""One life of the learner as the plain asyncio object it is, with ranks that answer when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError

from actors.policy.architecture import ModelRefused
from trainers.learner_group.commands import LearnerLost, Save
from trainers.learner_group.life import Life
from trainers.learner_group.rank import Broken, Seat

VERB = Save(Path("here"))
STALL_S = 60.0
ADDRESS = ("here", 1)


class Method:
    def __init__(self, call: Callable[..., asyncio.Future]) -> None:
        self.remote = call


class Rank:
    """A handle of a rank: what it is asked stays open until the test answers, or the rank dies."""

    def __init__(self, node: str = "n", gpu: str = "0", pid: int = 100) -> None:
        self.sat = Seat((node, (gpu,)), pid)
        self.joins = True
        self.asked: list[tuple[str, tuple]] = []
        self.open: dict[str, asyncio.Future] = {}
        self.begun = 0
        self.killed = 0

    def __getattr__(self, name: str) -> Any:
        return Method(lambda *given: self._ask(name, given))

    def _ask(self, name: str, given: tuple) -> asyncio.Future:
        self.asked.append((name, given))
        self.open[name] = reply = asyncio.get_running_loop().create_future()
        at_once = {"seat": self.sat, "open_meeting": ADDRESS, "join": None, "steps_begun": self.begun}
        if name in at_once and (name != "join" or self.joins):
            reply.set_result(at_once[name])
        return reply

    def answer(self, name: str, value: Any) -> None:
        self.open.pop(name).set_result(value)

    def die(self) -> None:
        self.killed += 1
        for reply in self.open.values():
            if not reply.done():
                reply.set_exception(RayActorError(error_msg=f"rank {self.sat.pid} is dead"))


async def settled(task: asyncio.Task) -> bool:
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


async def up(*ranks: Rank) -> Life:
    def close() -> None:
        for rank in ranks:
            rank.die()

    life = Life(ranks, [], close)
    await life.begin(None)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    return life


async def asked(life: Life, stall_s: float = STALL_S) -> asyncio.Task:
    task = asyncio.create_task(life.ask(VERB, stall_s))
    assert not await settled(task)
    return task


async def test_ranks_are_numbered_by_node_and_gpu_and_meet_where_the_first_says():
    far, second, first = Rank("b", "0", 3), Rank("a", "1", 2), Rank("a", "0", 1)
    life = await up(far, second, first)
    assert life.pids == (1, 2, 3)
    joins = [[given for name, given in rank.asked if name == "join"] for rank in (first, second, far)]
    assert joins == [[(number, 3, ADDRESS, None)] for number in range(3)]
    assert [[name for name, _ in rank.asked].count("open_meeting") for rank in (first, second, far)] == [1, 0, 0]


async def test_a_model_that_no_rank_can_train_is_refused_as_such_though_another_rank_still_waits():
    zero, one = Rank(gpu="0"), Rank(gpu="1")
    zero.joins = one.joins = False
    beginning = asyncio.create_task(up(zero, one))
    assert not await settled(beginning)
    one.answer("join", ModelRefused("packed, its log-probabilities are off"))
    with pytest.raises(ModelRefused, match="are off"):
        await beginning


async def test_the_answer_is_rank_0s_once_all_have_answered():
    zero, one = Rank(gpu="0"), Rank(gpu="1")
    asking = await asked(await up(zero, one))
    zero.answer("obey", "zero")
    assert not await settled(asking)
    one.answer("obey", "one")
    assert await asking == "zero"


async def test_an_error_of_any_rank_is_raised_and_the_life_goes_on():
    zero, one = Rank(gpu="0"), Rank(gpu="1")
    life = await up(zero, one)
    asking = await asked(life)
    zero.answer("obey", "zero")
    one.answer("obey", OSError("disk full on rank 1"))
    with pytest.raises(OSError, match="disk full on rank 1"):
        await asking
    assert not life.over


async def test_a_rank_that_breaks_ends_the_life_with_its_reason_without_waiting_for_the_others():
    zero, one = Rank(gpu="0"), Rank(gpu="1")
    life = await up(zero, one)
    asking = await asked(life)
    one.answer("obey", Broken("RuntimeError: out of memory"))
    with pytest.raises(LearnerLost, match=r"rank 1: RuntimeError: out of memory"):
        await asking
    with pytest.raises(LearnerLost, match="out of memory"):
        await life.ask(VERB, STALL_S)
    with pytest.raises(LearnerLost, match="out of memory"):
        await life.lost()


async def test_a_rank_that_dies_between_two_verbs_ends_the_life():
    zero, one = Rank(gpu="0", pid=10), Rank(gpu="1", pid=11)
    life = await up(zero, one)
    waiting = asyncio.create_task(life.lost())
    assert not await settled(waiting)
    one.die()
    with pytest.raises(LearnerLost, match="rank 11 is dead"):
        await waiting
    assert life.over


async def test_the_first_cause_is_the_one_that_is_told_and_the_ranks_are_ended_once():
    rank = Rank()
    life = await up(rank)
    asking = await asked(life)
    life.end(LearnerLost("out of luck"))
    life.end(LearnerLost("something later"))
    assert rank.killed == 1
    with pytest.raises(LearnerLost, match="out of luck"):
        await asking


async def test_ranks_that_give_no_sign_end_the_wait_and_the_life():
    life = await up(Rank())
    with pytest.raises(LearnerLost, match=r"no sign of a rank in 0\.05 s of save"):
        await life.ask(VERB, 0.05)
    assert life.over


async def test_a_step_that_begins_prolongs_the_wait():
    class Busy(Rank):
        """It has begun another step at every look."""

        def _ask(self, name: str, given: tuple) -> asyncio.Future:
            self.begun += name == "steps_begun"
            return super()._ask(name, given)

    rank = Busy()
    asking = await asked(await up(rank), 0.1)
    while rank.begun < 30 and not asking.done():  # noqa: ASYNC110 - ten looks take all of the time
        await asyncio.sleep(0.01)
    assert not asking.done()
    rank.answer("obey", "done")
    assert await asking == "done"


async def test_progress_is_passed_on_until_the_last_of_it():
    rank = Rank()
    life = await up(rank)
    heard: list[Any] = []
    training = asyncio.create_task(life.pretrain("job", heard.append, STALL_S))  # type: ignore[arg-type]
    assert not await settled(training)
    rank.answer("progress_after", ["first", "second"])
    assert not await settled(training)
    assert rank.asked[-1] == ("progress_after", (2,))
    rank.answer("progress_after", [])
    rank.answer("obey", "the end")
    assert await training == "the end"
    assert heard == ["first", "second"]


async def test_a_stage_whose_rank_dies_is_lost():
    rank = Rank()
    life = await up(rank)
    training = asyncio.create_task(life.pretrain("job", print, STALL_S))  # type: ignore[arg-type]
    assert not await settled(training)
    rank.die()
    with pytest.raises(LearnerLost, match="is dead"):
        await training
