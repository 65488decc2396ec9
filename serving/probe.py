"""The probe routes: problems, verdicts, and one policy's trace judged while it is written.

`compare` and `pass_at_k` have their own modules. Sampling is `service`'s business, judging is the verifier's.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from serving.answers import caller_of, documented, json_answer
from serving.probe_schemas import (
    ContinueRequest,
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
from serving.problems import posed, problem_answer, rewards, verdict_body
from serving.schemas import stop_strings
from serving.service import Draw, Service
from serving.sse import DONE, named
from serving.traces import JudgedTrace, prompt_with, settled
from verifier.verify import verify

error_event = named("error")
_NAMES = {StartEvent: named("start"), TokenEvent: named("token"), StepEvent: named("step"), SolveAnswer: named("done")}
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


async def _respond(service: Service, request: Request, body: SolveRequest, prefix: str) -> Response:
    run = _solve(service, request, body, prefix)
    if body.stream:
        return service.work.stream(_as_events(run), error_event)
    return json_answer(await service.work.whole(request, _last(run)))


async def _as_events(run: AsyncGenerator[_Event, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(run) as events:
        async for event in events:
            yield _NAMES[type(event)](event)
    yield DONE


async def _last(run: AsyncGenerator[_Event, None]) -> SolveAnswer:
    answer = None
    async with aclosing(run) as events:
        async for event in events:
            answer = event
    assert isinstance(answer, SolveAnswer)
    return answer


async def _solve(service: Service, request: Request, body: SolveRequest, prefix: str) -> AsyncGenerator[_Event, None]:
    """One trace of one policy: what happens, in order."""
    arrived = time.monotonic()
    problem = await run_in_threadpool(posed, body.problem, body.texts)
    draw = Draw(body.max_tokens, body.temperature, body.top_p, body.seed, stop_strings(body.stop), body.logprobs)
    async with service.session(body.model, caller_of(request, body.user), draw) as session:
        prompt_ids = session.encode(prompt_with(problem.prompt, prefix), "problem")
        policy = session.policy(service.engine)
        trace = JudgedTrace(problem, prefix, session.route.loaded.codec)
        yield StartEvent(
            request_id=request.state.request_id,
            policy=policy,
            problem_id=problem.id,
            prompt=problem.prompt,
            prefix=prefix,
            prompt_tokens=len(prompt_ids),
        )
        for step in trace.new_steps():
            yield step
        async with aclosing(session.pieces(prompt_ids, 0, 0)) as stream:
            async for piece in stream:
                before = len(trace.written.tokens)
                trace.written.add(piece)
                if piece.tokens:
                    yield TokenEvent(tokens=trace.token_bodies(piece.tokens, before))
                for step in trace.new_steps():
                    yield step
        verdict = trace.verdict()
        service.judged(session, verdict)
        yield trace.answer(verdict, policy, len(prompt_ids), arrived)
