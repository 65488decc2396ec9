"""The probe routes: problems, judgements, and one policy's trace judged while it is written.

`compare`, `pass_at_k` and `recovery` have their own modules. `generation` samples, the verifier judges.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.generation.service import Draw, Service, Session
from serving.http.admission import Caller
from serving.http.answers import caller_of, documented, documented_get, json_answer, json_bytes
from serving.http.sse import named, named_bytes
from serving.http.telling import as_events, error_event
from serving.probe.bodies.judgements import DrawRequest, VerifyAnswer, VerifyRequest
from serving.probe.bodies.problems import ItemAnswer, ItemRequest, ProblemAnswer, ProblemRequest, TaskAnswer
from serving.probe.bodies.solve import ContinueRequest, SolveAnswer, SolveRequest, StartEvent, StepEvent, TokenEvent
from serving.probe.items import item_answer
from serving.probe.judgements import judgement_body, rewards
from serving.probe.posed import ProblemBank
from serving.probe.problems import picture, problem_answer
from serving.probe.traces import FinishedTrace, JudgedTrace, prompt_with, settled
from serving.schemas import Policy, stop_strings
from verifier.task import prompt_text

_NAMES: Mapping[type[Any], Callable[[Any], bytes]] = {
    StartEvent: named("start"),
    TokenEvent: named("token"),
    StepEvent: named("step"),
    FinishedTrace: lambda finished: named_bytes("done", finished.body),
}
_SVG: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {"image/svg+xml": {"schema": {"type": "string"}}}}
}
_NO_TASK = TaskAnswer(family=None, has_steps=False, strata=[])
_Event = StartEvent | TokenEvent | StepEvent | FinishedTrace


def routes(service: Service, bank: ProblemBank) -> APIRouter:
    """The routes over `service` and `bank`."""
    router = APIRouter(tags=["Probe"])

    @router.post("/v1/probe/problems", response_model=ProblemAnswer, responses=documented())
    async def problems(request: Request, body: ProblemRequest) -> Response:
        """Make one problem with its graph, laid out for drawing."""
        made = bank.desk.begin(caller_of(request, None), problem_answer, body)
        return json_answer(await service.work.whole(request, made))

    @router.get("/v1/probe/task", response_model=TaskAnswer, responses=documented_get())
    async def task() -> Response:
        """The task that is served, and the strata that its items are named by."""
        return json_answer(bank.task.answer() if bank.task else _NO_TASK)

    @router.post("/v1/probe/items", response_model=ItemAnswer, responses=documented())
    async def items(request: Request, body: ItemRequest) -> Response:
        """Show one held-out item of the served task."""
        posed = bank.item(body, bank.clerk(caller_of(request, None), let_in=False))
        return json_answer(item_answer(body, await service.work.whole(request, posed)))

    @router.post("/v1/probe/verify", response_model=VerifyAnswer, responses=documented())
    async def judge(request: Request, body: VerifyRequest) -> Response:
        """Judge a text against a problem, step by step."""
        return json_answer(await service.work.whole(request, _verified(bank, body, caller_of(request, None))))

    @router.post("/v1/probe/draw", response_class=Response, responses=documented() | _SVG)
    async def draw(request: Request, body: DrawRequest) -> Response:
        """Draw a problem's dependency graph, or a text's judgement on it, as an SVG file without scripts."""
        drawn = bank.desk.begin(caller_of(request, None), picture, body)
        return Response(await service.work.whole(request, drawn), media_type="image/svg+xml")

    @router.post("/v1/probe/solve", response_model=SolveAnswer, responses=documented(stream=True))
    async def solve(request: Request, body: SolveRequest) -> Response:
        """Let a policy solve a problem; every step is judged as soon as it is complete."""
        return await _respond(service, bank, request, body, "")

    @router.post("/v1/probe/continue", response_model=SolveAnswer, responses=documented(stream=True))
    async def go_on(request: Request, body: ContinueRequest) -> Response:
        """As solve, from a given beginning of the trace: edit a step and see whether the policy recovers."""
        return await _respond(service, bank, request, body, settled(body.prefix))

    return router


async def _verified(bank: ProblemBank, body: VerifyRequest, caller: Caller) -> VerifyAnswer:
    problem = await bank.find(body, caller)
    judgement = await problem.judge(body.text, bank.clerk(caller, let_in=False))
    return VerifyAnswer(judgement=judgement_body(judgement), rewards=rewards(judgement))


async def _respond(service: Service, bank: ProblemBank, request: Request, body: SolveRequest, prefix: str) -> Response:
    if body.stream:
        return service.work.stream(as_events(_events(service, bank, request, body, prefix), _NAMES), error_event)
    return json_bytes((await service.work.whole(request, _whole(service, bank, request, body, prefix))).body)


@dataclass(frozen=True, slots=True)
class _Solving:
    """One policy at work on one problem. `arrived` is a time of the monotonic clock."""

    service: Service
    session: Session
    policy: Policy
    trace: JudgedTrace
    prompt_ids: tuple[int, ...]
    arrived: float

    async def answer(self) -> FinishedTrace:
        """The finished trace with its judgement, which is counted."""
        judgement = await self.trace.judgement()
        await self.service.judged(self.session, judgement)
        return await self.trace.answer(judgement, self.policy, len(self.prompt_ids), self.arrived, self.service.pace)


@asynccontextmanager
async def _begun(
    service: Service, bank: ProblemBank, request: Request, body: SolveRequest, prefix: str
) -> AsyncIterator[_Solving]:
    arrived = time.monotonic()
    caller = caller_of(request, body.user)
    problem = await bank.find(body, caller)
    draw = Draw(body.max_tokens, body.temperature, body.top_p, body.seed, stop_strings(body.stop), body.logprobs)
    async with service.session(body.model, caller, draw, streamed=body.stream) as session:
        prompt_ids = await session.encode(prompt_with(problem.prompt, prefix), "problem")
        trace = JudgedTrace(problem, prefix, session.route.loaded.codec, bank.clerk(caller))
        policy = session.policy(service.engine)
        yield _Solving(service, session, policy, trace, prompt_ids, arrived)


async def _whole(
    service: Service, bank: ProblemBank, request: Request, body: SolveRequest, prefix: str
) -> FinishedTrace:
    async with _begun(service, bank, request, body, prefix) as solving:
        solving.trace.written = await solving.session.write(solving.prompt_ids, 0, 0)
        return await solving.answer()


async def _events(
    service: Service, bank: ProblemBank, request: Request, body: SolveRequest, prefix: str
) -> AsyncGenerator[_Event, None]:
    """One trace of one policy: what happens, in order."""
    async with _begun(service, bank, request, body, prefix) as solving:
        trace = solving.trace
        yield StartEvent(
            request_id=request.state.request_id,
            policy=solving.policy,
            problem_id=trace.problem.id,
            prompt=prompt_text(trace.problem.prompt),
            prefix=prefix,
            prompt_tokens=len(solving.prompt_ids),
        )
        for step in await trace.new_steps():
            yield step
        async with aclosing(solving.session.pieces(solving.prompt_ids, 0, 0)) as stream:
            async for piece in stream:
                before = len(trace.written.tokens)
                trace.written.add(piece)
                if piece.tokens:
                    yield TokenEvent(tokens=trace.token_bodies(piece.tokens, before))
                for step in await trace.new_steps():
                    yield step
        yield await solving.answer()
