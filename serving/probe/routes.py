"""The probe routes: problems, verdicts, and one policy's trace judged while it is written.

`compare` and `pass_at_k` have their own modules. Sampling is `service`'s business, judging is the verifier's.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from serving.generation.service import Draw, Service, Session
from serving.http.answers import caller_of, documented, json_answer
from serving.http.sse import DONE, named
from serving.probe.problems import make, posed, problem_answer, rewards, verdict_body
from serving.probe.schemas import (
    ContinueRequest,
    DrawRequest,
    ProblemAnswer,
    ProblemRequest,
    SolveAnswer,
    SolveRequest,
    StartEvent,
    StepEvent,
    TokenEvent,
    VerifyAnswer,
    VerifyRequest,
)
from serving.probe.traces import JudgedTrace, prompt_with, settled
from serving.schemas import Policy, stop_strings
from verifier.graphs.draw import problem_svg, verdict_svg
from verifier.graphs.judge.judge import verify

error_event = named("error")
_NAMES = {StartEvent: named("start"), TokenEvent: named("token"), StepEvent: named("step"), SolveAnswer: named("done")}
_SVG: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {"image/svg+xml": {"schema": {"type": "string"}}}}
}
_Event = StartEvent | TokenEvent | StepEvent | SolveAnswer


def routes(service: Service) -> APIRouter:
    """The routes over `service`."""
    router = APIRouter(tags=["Probe"])

    @router.post("/v1/probe/problems", response_model=ProblemAnswer, responses=documented())
    async def problems(body: ProblemRequest) -> Response:
        """Make one problem with its graph, laid out for drawing."""
        return json_answer(await run_in_threadpool(problem_answer, body))

    @router.post("/v1/probe/verify", response_model=VerifyAnswer, responses=documented())
    async def judge(body: VerifyRequest) -> Response:
        """Judge a text against a problem, step by step."""
        return json_answer(await run_in_threadpool(_judge, body))

    @router.post("/v1/probe/draw", response_class=Response, responses=documented() | _SVG)
    async def draw(body: DrawRequest) -> Response:
        """Draw a problem's dependency graph, or a text's verdict on it, as an SVG file without scripts."""
        return Response(await run_in_threadpool(_draw, body), media_type="image/svg+xml")

    @router.post("/v1/probe/solve", response_model=SolveAnswer, responses=documented(stream=True))
    async def solve(request: Request, body: SolveRequest) -> Response:
        """Let a policy solve a problem; every step is judged as soon as it is complete."""
        return await _respond(service, request, body, "")

    @router.post("/v1/probe/continue", response_model=SolveAnswer, responses=documented(stream=True))
    async def go_on(request: Request, body: ContinueRequest) -> Response:
        """As solve, from a given beginning of the trace: edit a step and see whether the policy recovers."""
        return await _respond(service, request, body, settled(body.prefix))

    return router


def _judge(body: VerifyRequest) -> VerifyAnswer:
    verdict = verify(body.text, posed(body.problem, body.texts).gold)
    return VerifyAnswer(verdict=verdict_body(verdict), rewards=rewards(verdict))


def _draw(body: DrawRequest) -> str:
    if body.text is None:
        assert body.problem is not None
        return problem_svg(make(body.problem).graph)
    gold = posed(body.problem, body.texts).gold
    return verdict_svg(gold, verify(body.text, gold))


async def _respond(service: Service, request: Request, body: SolveRequest, prefix: str) -> Response:
    if body.stream:
        return service.work.stream(_as_events(_events(service, request, body, prefix)), error_event)
    return json_answer(await service.work.whole(request, _whole(service, request, body, prefix)))


async def _as_events(run: AsyncGenerator[_Event, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(run) as events:
        async for event in events:
            yield _NAMES[type(event)](event)
    yield DONE


@dataclass(frozen=True, slots=True)
class _Solving:
    """One policy at work on one problem. `arrived` is a time of the monotonic clock."""

    service: Service
    session: Session
    policy: Policy
    trace: JudgedTrace
    prompt_ids: tuple[int, ...]
    arrived: float

    def answer(self) -> SolveAnswer:
        """The finished trace with its verdict, which is counted."""
        verdict = self.trace.verdict()
        self.service.judged(self.session, verdict)
        return self.trace.answer(verdict, self.policy, len(self.prompt_ids), self.arrived)


@asynccontextmanager
async def _begun(service: Service, request: Request, body: SolveRequest, prefix: str) -> AsyncIterator[_Solving]:
    arrived = time.monotonic()
    problem = await run_in_threadpool(posed, body.problem, body.texts)
    draw = Draw(body.max_tokens, body.temperature, body.top_p, body.seed, stop_strings(body.stop), body.logprobs)
    async with service.session(body.model, caller_of(request, body.user), draw, streamed=body.stream) as session:
        prompt_ids = await session.encode(prompt_with(problem.prompt, prefix), "problem")
        trace = JudgedTrace(problem, prefix, session.route.loaded.codec)
        yield _Solving(service, session, session.policy(service.engine), trace, prompt_ids, arrived)


async def _whole(service: Service, request: Request, body: SolveRequest, prefix: str) -> SolveAnswer:
    async with _begun(service, request, body, prefix) as solving:
        solving.trace.written = await solving.session.write(solving.prompt_ids, 0, 0)
        return solving.answer()


async def _events(service: Service, request: Request, body: SolveRequest, prefix: str) -> AsyncGenerator[_Event, None]:
    """One trace of one policy: what happens, in order."""
    async with _begun(service, request, body, prefix) as solving:
        trace = solving.trace
        yield StartEvent(
            request_id=request.state.request_id,
            policy=solving.policy,
            problem_id=trace.problem.id,
            prompt=trace.problem.prompt,
            prefix=prefix,
            prompt_tokens=len(solving.prompt_ids),
        )
        for step in trace.new_steps():
            yield step
        async with aclosing(solving.session.pieces(solving.prompt_ids, 0, 0)) as stream:
            async for piece in stream:
                before = len(trace.written.tokens)
                trace.written.add(piece)
                if piece.tokens:
                    yield TokenEvent(tokens=trace.token_bodies(piece.tokens, before))
                for step in trace.new_steps():
                    yield step
        yield solving.answer()
