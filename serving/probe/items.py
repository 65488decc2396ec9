"""The items of the served task: problems of any family, named by stratum and seed.

Which task it is the operator says, on the command line or by the run's recipe; no request can.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.desk import Clerk, Desk
from serving.http.admission import Gate
from serving.http.errors import BadRequest
from serving.probe.bodies.problems import ItemAnswer, ItemRequest, StratumBody, TaskAnswer
from serving.probe.task_process import TaskProcess
from verifier.families import TaskConfig, open_task
from verifier.judgement import Judgement, StepJudgement, TraceJudgement
from verifier.recovery import Alternative, Planted, Plants, Unplanted
from verifier.task import Item, Prompt, prompt_text


@dataclass(frozen=True, slots=True)
class PosedItem:
    """An item as a probe needs it. Its text is judged once it is complete, since a task's judge may take its time."""

    item: Item
    process: TaskProcess
    plants: bool = False
    nodes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The item's id within the task."""
        return self.item.id

    @property
    def prompt(self) -> Prompt:
        """What the policy is shown."""
        return self.item.prompt

    @property
    def trace(self) -> str | None:
        """The gold text, if the family knows one."""
        return self.item.gold

    async def stated(self, text: str, clerk: Clerk) -> list[StepJudgement]:
        """No step of an unfinished text is judged."""
        return []

    async def judge(self, text: str, clerk: Clerk) -> Judgement:
        """The judgement of a text, made by the task's own process. Raises TaskFailed."""
        return await self.process.judge(self.item, text, clerk)

    async def plant(
        self, trace: str, step: int, alternative: Alternative, seed: int, clerk: Clerk
    ) -> Planted | Unplanted:
        """An alternative at a step of a right trace. BadRequest where the family plants none."""
        if not self.plants:
            raise BadRequest(
                "errors cannot be planted in the traces of this task", param="item", code="no_alternatives"
            )
        return await self.process.plant(self.item, trace, step, alternative, seed, clerk)

    async def judge_as_if(self, planted: Planted, text: str, clerk: Clerk) -> TraceJudgement | None:
        """The judgement of a text as if a planted error were true."""
        return await self.process.judge_as_if(planted, text, clerk)


class ServedTask:
    """The task that the operator named, at work in a process of its own."""

    def __init__(self, config: TaskConfig, engines: Gate) -> None:
        self._config = config
        self._task = open_task(config)
        self._strata = {stratum.name: stratum for stratum in self._task.strata()}
        self._process = TaskProcess(config, Desk(engines))

    async def posed(self, request: ItemRequest, clerk: Clerk) -> PosedItem:
        """The held-out item of a stratum and a seed. Raises BadRequest and TaskFailed."""
        if request.stratum not in self._strata:
            raise BadRequest("there is no such stratum; GET /v1/probe/task lists them", param="item.stratum")
        item = await self._process.item(self._strata[request.stratum], request.seed, clerk)
        return PosedItem(item, self._process, isinstance(self._task, Plants))

    def answer(self) -> TaskAnswer:
        """The task on the wire."""
        strata = [StratumBody(name=name, axes=dict(stratum.axes)) for name, stratum in self._strata.items()]
        return TaskAnswer(family=self._config.family, has_steps=self._task.has_steps, strata=strata)

    def close(self) -> None:
        """End the process."""
        self._process.close()


def item_answer(request: ItemRequest, posed: PosedItem) -> ItemAnswer:
    """An item on the wire."""
    item = posed.item
    return ItemAnswer(id=item.id, item=request, prompt=prompt_text(item.prompt), gold=item.gold)
