"""What a probe asks: an op-graph problem by cell and seed or by its texts, or an item of the served task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serving.desk import Clerk, Desk
from serving.http.admission import Caller
from serving.http.errors import BadRequest
from serving.probe.bodies.problems import About, ItemRequest
from serving.probe.items import PosedItem, ServedTask
from serving.probe.problems import posed_cell, posed_texts
from verifier.judgement import Judgement, StepJudgement, TraceJudgement
from verifier.recovery import Alternative, Planted, Unplanted
from verifier.task import Prompt


class Posed(Protocol):
    """A problem as the routes need it, whatever its family."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def prompt(self) -> Prompt:
        """What the policy is shown."""
        ...

    @property
    def nodes(self) -> Sequence[str]:
        """The names of the needed steps, in the order of the gold trace; none where no steps are judged."""
        ...

    @property
    def trace(self) -> str | None:
        """The gold trace; None where the family knows none."""
        ...

    async def stated(self, text: str, clerk: Clerk) -> list[StepJudgement]:
        """The steps that stand in an unfinished text, if its family judges them before the end."""
        ...

    async def judge(self, text: str, clerk: Clerk) -> Judgement:
        """The judgement of a text, made by `clerk` where it is the server's own work."""
        ...

    async def plant(
        self, trace: str, step: int, alternative: Alternative, seed: int, clerk: Clerk
    ) -> Planted | Unplanted:
        """An alternative at a step of a right trace. BadRequest where the family plants none."""
        ...

    async def judge_as_if(self, planted: Planted, text: str, clerk: Clerk) -> TraceJudgement | None:
        """The judgement of a text as if a planted error were true."""
        ...


class ProblemBank:
    """What can be asked of this server: any op-graph problem, and the items of its task if it has one."""

    def __init__(self, task: ServedTask | None, desk: Desk) -> None:
        self.task = task
        self.desk = desk

    def clerk(self, caller: Caller, let_in: bool = True) -> Clerk:
        """Who works for a caller: one that has been let in, unless it is said not to."""
        return Clerk(self.desk, caller, let_in)

    async def find(self, about: About, caller: Caller, let_in: bool = False) -> Posed:
        """The problem that a request is about, when it is the caller's turn. BadRequest names the field at fault.

        Unavailable when too many wait, unless the caller has been let in; for an item also what `item` raises.
        """
        clerk = self.clerk(caller, let_in)
        if about.item is not None:
            return await self.item(about.item, clerk)
        if about.problem is not None:
            return await clerk.do(posed_cell, about.problem)
        assert about.texts is not None
        return await clerk.do(posed_texts, about.texts)

    async def item(self, request: ItemRequest, clerk: Clerk) -> PosedItem:
        """An item of the served task. Raises BadRequest and TaskFailed."""
        if self.task is None:
            raise BadRequest(
                "this server was started without a task; give problem or texts", param="item", code="no_task"
            )
        return await self.task.posed(request, clerk)
