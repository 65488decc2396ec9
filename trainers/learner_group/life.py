"""One life of the learner: ranks that come up together, obey together and end together.

A rank without the others' state is of no use, so the end of one is the end of all; a new life has new ranks. Nothing
here starts a process or computes: ranks are handles of `trainers.learner_group.rank.LearnerRank`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ray.exceptions import RayActorError

from trainers.interruption import unless
from trainers.learner_group.commands import LearnerLost, Pretrain, PretrainJob, Verb
from trainers.learner_group.rank import Broken, LearnerPlan

if TYPE_CHECKING:
    from trainers.pretrain.pretrain import TrainingProgress

_SIGN_S: Final = 10.0  # for a rank to say how far it is


class Life:
    """See the module; `close` ends the processes. Made by `trainers.learner_group.placement.open_life`."""

    def __init__(self, ranks: Sequence[Any], makers: Sequence[Any], close: Callable[[], None]) -> None:
        self.pids: tuple[int, ...] = ()
        self._ranks = ranks  # in rank order once `begin` has put them so
        self._makers = tuple(makers)
        self._close = close
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # only ever gets an exception
        self._end.add_done_callback(asyncio.Future.exception)  # nobody has to ask for it
        self._watching: list[asyncio.Task[None]] = []

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._end.done()

    async def begin(self, plan: LearnerPlan) -> None:
        """Wait until every rank has built its learner, in the order of their nodes and GPUs.

        Raises LearnerLost, and the error of a rank that no life could build.
        """
        seats = await self._all(rank.seat.remote() for rank in self._ranks)
        order = sorted(range(len(seats)), key=lambda number: seats[number].place)
        self._ranks = [self._ranks[number] for number in order]
        self.pids = tuple(seats[number].pid for number in order)
        first, ranks = self._ranks[0], len(self._ranks)
        (meeting,) = await self._all([first.open_meeting.remote(ranks)])
        joins = [rank.join.remote(number, ranks, meeting, plan) for number, rank in enumerate(self._ranks)]
        await asyncio.gather(*(_built(number, join) for number, join in enumerate(joins)))
        self._watching = [asyncio.create_task(self._watch(number)) for number in range(ranks)]

    async def ask(self, verb: Verb, stall_s: float) -> Any:
        """Give a verb to all ranks; rank 0's answer once all have answered. Raises the first error among theirs.

        Raises LearnerLost when a rank ends, or when there is no sign of rank 0 in `stall_s` seconds.
        """
        if self.over:
            raise self._cause
        working = self._all(rank.obey.remote(verb) for rank in self._ranks)
        try:
            answers = await unless(working, self._stalled(verb, stall_s))
        except LearnerLost as lost:
            self.end(lost)
            raise self._cause from lost
        errors = (answer for answer in answers if isinstance(answer, Exception))
        if (error := next(errors, None)) is not None:
            raise error
        return answers[0]

    async def pretrain(
        self, job: PretrainJob, report: Callable[[TrainingProgress], None], stall_s: float
    ) -> TrainingProgress:
        """Run a stage on texts, and pass its progress on as it is told. Raises as `ask` does."""
        asking = asyncio.ensure_future(self.ask(Pretrain(job, self._makers), stall_s))
        try:
            await self._pass_on(report)
            return await asking
        finally:
            asking.cancel()

    def interrupt(self) -> None:
        """Ask the ranks to end a stage on texts after the step that they are in."""
        self._ranks[0].interrupt.remote()

    async def lost(self) -> None:
        """Wait for the end, which may never come. Raises LearnerLost with its cause."""
        await asyncio.shield(self._end)

    def end(self, cause: LearnerLost) -> None:
        """End the processes; whoever waits hears the first cause. Harmless when they have ended."""
        if self.over:
            return
        self._end.set_exception(cause)
        for task in self._watching:
            task.cancel()
        self._close()

    @property
    def _cause(self) -> BaseException:
        cause = self._end.exception()
        assert cause is not None, "it only ever gets an exception"
        return cause

    async def _all(self, replies: Any) -> list[Any]:
        """What all ranks answer. Raises LearnerLost as soon as one has ended."""
        return await asyncio.gather(*(_answer(number, reply) for number, reply in enumerate(replies)))

    async def _watch(self, number: int) -> None:
        try:
            await _answer(number, self._ranks[number].ended.remote())
        except LearnerLost as lost:
            self.end(lost)

    async def _stalled(self, verb: Verb, stall_s: float) -> None:
        """Wait until rank 0 has begun no further step for `stall_s` seconds. Raises LearnerLost then."""
        seen, since = 0, time.monotonic()
        while (left := since + stall_s - time.monotonic()) > 0:
            await asyncio.sleep(min(left, stall_s / 10))
            begun = await self._steps_begun()
            if begun not in (None, seen):
                seen, since = begun, time.monotonic()
        raise LearnerLost(f"the learner hangs: no sign of a rank in {stall_s:g} s of {type(verb).__name__.lower()}")

    async def _steps_begun(self) -> int | None:
        try:
            async with asyncio.timeout(_SIGN_S):
                return await self._ranks[0].steps_begun.remote()
        except (TimeoutError, RayActorError):  # whoever asked the rank to do something hears of its end
            return None

    async def _pass_on(self, report: Callable[[TrainingProgress], None]) -> None:
        seen = 0
        try:
            while told := await self._ranks[0].progress_after.remote(seen):
                for progress in told:
                    report(progress)
                seen += len(told)
        except RayActorError:
            return  # the verb that is open says why


async def _built(number: int, join: Any) -> None:
    """Raises a rank's error at once: the other ranks may wait for it in a collective operation."""
    if isinstance(answer := await _answer(number, join), Exception):
        raise answer


async def _answer(number: int, reply: Any) -> Any:
    """What a rank answers. Raises LearnerLost if it has ended."""
    try:
        answer = await reply
    except RayActorError as error:
        raise LearnerLost(f"a learner process died: {error}") from error
    if isinstance(answer, Broken):
        raise LearnerLost(f"a learner process failed (rank {number}: {answer.cause})")
    return answer
