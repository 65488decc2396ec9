"""A stand-in for the HTTP API: the same bodies and streams, canned answers. No model, no verifier, no Ray.

`Knobs` makes it slow, locked, full or faulty. By hand: `python -m tests.web.fake_api --port 8123`.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles

from serving import schemas
from serving.probe.bodies.compare import CompareAnswer, CompareRequest
from serving.probe.bodies.judgements import VerifyAnswer, VerifyRequest
from serving.probe.bodies.pass_at_k import (
    EstimateEvent,
    PassAtKAnswer,
    PassAtKRequest,
    PassStart,
    SampleEvent,
)
from serving.probe.bodies.problems import ProblemAnswer, ProblemRequest, TaskAnswer
from serving.probe.bodies.recovery import CellBody, CellEvent, CheckpointEvent, RecoveryAnswer, RecoveryRequest
from serving.probe.bodies.solve import (
    ErrorEvent,
    SolveAnswer,
    StartEvent,
    Timing,
    TokenEvent,
)
from serving.probe.recovery import shares
from tests.web.fake_answers import (
    STEPS,
    card,
    compare_answer,
    estimates,
    policy_of,
    problem_of,
    script_of,
    solve_answer,
    step_of,
)
from tests.web.fake_recovery import cell_of, planted_start
from verifier.recovery import Outcome

WEB = Path(__file__).resolve().parents[2] / "serving" / "web"
CSP = (  # as `serving.http.guard` sends it
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass
class Knobs:
    """What tests turn: the key that is asked for, the pace, and faults for the next requests."""

    key: str | None = None
    delay_s: float = 0.0
    fail: list[tuple[str, int]] = field(default_factory=list)  # (path ending, status), used up one by one
    cut: list[str] = field(default_factory=list)  # path endings whose JSON breaks off in the middle, used up
    break_after: int | None = None  # tokens until a stream ends in an error event
    hold_after: int | None = None  # tokens until a stream waits for `release`, in the middle of an event; or samples
    release: threading.Event = field(default_factory=threading.Event)
    models: bool = True
    steps: tuple[int, ...] = STEPS
    asked: list[tuple[str, dict]] = field(default_factory=list)  # what came in: (path, body)


def _event(name: str, body: schemas.Answer) -> str:
    return f"event: {name}\ndata: {body.model_dump_json()}\n\n"


def _error(status: int, message: str, code: str, param: str | None = None) -> JSONResponse:
    body = schemas.ErrorAnswer(
        error=schemas.ErrorBody(message=message, type="invalid_request_error", code=code, param=param)
    )
    headers = {"x-request-id": "req-fake-1"} | ({"retry-after": "2"} if status in (429, 503) else {})
    return JSONResponse(body.model_dump(), status, headers)


FAULTS = {
    400: ("op must be between 1 and 40", "out_of_range", "problem.op"),
    401: ("no valid API key", "invalid_api_key", None),
    403: ("this route needs a key of scope probe; this one has read", "insufficient_scope", None),
    404: ("no model demo@7; GET /v1/models lists them", "model_not_found", "model"),
    429: ("60 requests a minute", "rate_limited", None),
    500: ("unexpected", "internal", None),
    503: ("32 running and 64 waiting", "queue_full", None),
}


def _cut() -> Response:
    """The beginning of a body, after which the connection closes: its length says that more was to come."""
    return Response(b'{"data": [', headers={"content-length": "99"}, media_type="application/json")


def _guard(app: FastAPI, knobs: Knobs) -> None:
    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        path = request.url.path
        if path.startswith("/v1"):
            if knobs.key and request.headers.get("authorization") != f"Bearer {knobs.key}":
                return _error(401, *FAULTS[401])
            for fault in knobs.fail:
                if path.endswith(fault[0]):
                    knobs.fail.remove(fault)
                    return _error(fault[1], *FAULTS[fault[1]])
            for ending in knobs.cut:
                if path.endswith(ending):
                    knobs.cut.remove(ending)
                    return _cut()
        response = await call_next(request)
        response.headers["content-security-policy"] = CSP
        response.headers["cache-control"] = "no-store"
        return response


async def _reply(knobs: Knobs, body: dict, prefix: str) -> Response:
    answer, problem = solve_answer(body, prefix)
    if not body.get("stream", True):
        return JSONResponse(answer.model_dump())
    return StreamingResponse(_stream(knobs, answer, problem, prefix), media_type="text/event-stream",
                             headers={"x-request-id": "req-fake-stream"})  # fmt: skip


async def _stream(knobs: Knobs, answer: SolveAnswer, problem: ProblemAnswer, prefix: str) -> AsyncIterator[str]:
    yield _event("start", StartEvent(
        request_id="req-fake-stream", policy=answer.policy, problem_id=problem.id, prompt=problem.prompt,
        prefix=prefix, prompt_tokens=answer.prompt_tokens,
    ))  # fmt: skip
    waiting = [s for s in answer.steps if s.status != "missing"]
    for token in answer.tokens:
        if knobs.break_after is not None and token.index >= knobs.break_after:
            fault = schemas.ErrorBody(message="the replica was lost", type="server_error", code="replica_lost")
            yield _event("error", ErrorEvent(error=fault))
            return
        event = _event("token", TokenEvent(tokens=[token]))
        if token.index == knobs.hold_after:
            yield event[:-9]
            await asyncio.to_thread(knobs.release.wait)
            event = event[-9:]
        if knobs.delay_s:
            await asyncio.sleep(knobs.delay_s)
        yield event
        while waiting and waiting[0].end <= token.end:
            yield _event("step", waiting.pop(0))
        yield ": beat\n\n" if token.index == 3 else ""
    yield _event("done", answer)
    yield "data: [DONE]\n\n"


def _limits_and_models(app: FastAPI, knobs: Knobs) -> None:
    @app.get("/v1/limits")
    async def limits() -> schemas.Limits:
        return schemas.Limits(rate_per_minute=60, burst=20, running=32, queued=64)

    @app.get("/v1/models")
    async def models() -> schemas.ModelList:
        if not knobs.models:
            return schemas.ModelList(data=[])
        aliases = [card(a, f"demo@{step_of(a)}") for a in ("latest", "best", "base")]
        return schemas.ModelList(data=[*aliases, *(card(f"demo@{step}") for step in knobs.steps)])


def make_app(knobs: Knobs) -> FastAPI:
    """The application; `knobs` may be turned while it runs."""
    app = FastAPI()

    _guard(app, knobs)

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.mount("/static", StaticFiles(directory=WEB), name="static")

    _limits_and_models(app, knobs)

    @app.get("/v1/probe/task")
    async def task() -> TaskAnswer:
        return TaskAnswer(family=None, has_steps=False, strata=[])

    @app.post("/v1/probe/problems")
    async def problems(spec: ProblemRequest) -> ProblemAnswer:
        return problem_of(spec)[0]

    @app.post("/v1/probe/verify")
    async def verify(request: VerifyRequest) -> VerifyAnswer:
        assert request.problem is not None
        _, nodes = problem_of(request.problem)
        scripts = [script_of(step, nodes) for step in STEPS]
        judgement = next((s.judgement for s in scripts if s.text == request.text), scripts[-1].judgement)
        return VerifyAnswer(judgement=judgement, rewards={"outcome": float(judgement.outcome)})

    _generation(app, knobs)
    return app


def _generation(app: FastAPI, knobs: Knobs) -> None:
    """The routes for which a policy writes; each notes what it was asked."""

    @app.post("/v1/probe/solve")
    async def solve(request: Request) -> Response:
        body = await request.json()
        knobs.asked.append(("solve", body))
        return await _reply(knobs, body, "")

    @app.post("/v1/probe/continue")
    async def go_on(request: Request) -> Response:
        body = await request.json()
        knobs.asked.append(("continue", body))
        return await _reply(knobs, body, body["prefix"].removesuffix("."))  # as the real API: the policy writes it

    @app.post("/v1/probe/compare")
    async def compare(request: Request) -> CompareAnswer:
        body = await request.json()
        knobs.asked.append(("compare", body))
        CompareRequest(**body)
        return compare_answer(body)

    @app.post("/v1/probe/pass-at-k")
    async def pass_at_k(request: Request) -> Response:
        body = await request.json()
        knobs.asked.append(("pass-at-k", body))
        return StreamingResponse(_passes(PassAtKRequest(**body), body, knobs), media_type="text/event-stream")

    @app.post("/v1/probe/recovery")
    async def recovery(request: Request) -> Response:
        body = await request.json()
        knobs.asked.append(("recovery", body))
        return StreamingResponse(_recoveries(RecoveryRequest(**body), body, knobs), media_type="text/event-stream")


async def _recoveries(request: RecoveryRequest, body: dict, knobs: Knobs) -> AsyncIterator[str]:
    start = planted_start(request)
    yield _event("start", start)
    checkpoints: list[CheckpointEvent] = []
    cells: list[CellEvent] = []
    for place, model in enumerate(request.models):
        own = [cell_of(request, start, place, planted) for planted in range(len(start.planted))]
        for cell in own:
            if knobs.delay_s:
                await asyncio.sleep(knobs.delay_s)
            yield _event("cell", cell)
        outcomes = [Outcome(draw.outcome) for cell in own for draw in cell.draws]
        checkpoints.append(CheckpointEvent(model=place, policy=policy_of(model, body), shares=shares(outcomes)))
        yield _event("checkpoint", checkpoints[-1])
        cells += own
    yield _event("done", RecoveryAnswer(
        problem_id=start.problem_id, trace=start.trace, seed=start.seed, models=start.models, planted=start.planted,
        unplanted=start.unplanted, cells=[CellBody(**dict(cell)) for cell in cells], checkpoints=checkpoints,
        timing=Timing(first_token_ms=None, total_ms=900.0),
    ))  # fmt: skip
    yield "data: [DONE]\n\n"


async def _passes(request: PassAtKRequest, body: dict, knobs: Knobs) -> AsyncIterator[str]:
    assert request.problem is not None
    policy = policy_of(request.model, body)
    yield _event("start", PassStart(
        request_id="req-fake-pass", policy=policy, problems=request.problems, samples=request.samples
    ))  # fmt: skip
    outcome: list[float] = []
    strict: list[float] = []
    level = step_of(request.model)
    for problem in range(request.problems):
        _, nodes = problem_of(request.problem.model_copy(update={"seed": request.problem.seed + problem}))
        for sample in range(request.samples):
            draw = zlib.crc32(f"{problem}-{sample}".encode()) % 120
            step = max((s for s in STEPS if s <= min(100, level * 0.55 + draw * 0.5)), default=0)
            script = script_of(step, nodes)
            outcome.append(float(script.judgement.outcome))
            strict.append(float(script.judgement.verified or False))
            if knobs.delay_s:
                await asyncio.sleep(knobs.delay_s)
            if sample == knobs.hold_after:
                await asyncio.to_thread(knobs.release.wait)
            yield _event("sample", SampleEvent(
                problem=problem, sample=sample, seed=sample, outcome=script.judgement.outcome,
                verified=script.judgement.verified, process_accuracy=script.judgement.process_accuracy,
                answer=script.judgement.answer, text=script.text,
            ))  # fmt: skip
            yield _event("estimate", EstimateEvent(
                n=len(outcome), outcome=estimates(outcome, request.ks), strict=estimates(strict, request.ks)
            ))  # fmt: skip
    yield _event("done", PassAtKAnswer(
        policy=policy, n=len(outcome), stopped_early=False, outcome=estimates(outcome, request.ks),
        strict=estimates(strict, request.ks), timing=Timing(first_token_ms=10.0, total_ms=900.0),
    ))  # fmt: skip
    yield "data: [DONE]\n\n"


def main() -> None:
    """Serves the page and the canned API until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--key", default=None)
    parser.add_argument("--delay", type=float, default=0.03)
    chosen = parser.parse_args()
    uvicorn.run(make_app(Knobs(key=chosen.key, delay_s=chosen.delay)), host="127.0.0.1", port=chosen.port)


if __name__ == "__main__":
    main()
