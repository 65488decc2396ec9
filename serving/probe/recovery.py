"""The recovery map while it is drawn: errors planted in a right trace, and how each checkpoint goes on from them.

Cell by cell: the continuations of one checkpoint from one planted error are drawn together. The interval of a share is
Wilson's: it speaks of this problem and these errors, and of no others.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.desk import Clerk
from serving.generation.service import Draw, Service, Session, as_done
from serving.http.answers import caller_of, documented, json_answer
from serving.http.errors import BadRequest
from serving.http.sse import named
from serving.http.telling import as_events, error_event, last
from serving.probe.bodies.recovery import (
    DEFAULT_STEPS,
    CellBody,
    CellEvent,
    CheckpointEvent,
    DrawBody,
    PlantedBody,
    RecoveryAnswer,
    RecoveryRequest,
    RecoveryStart,
    Shares,
    UnplantedBody,
)
from serving.probe.posed import Posed, ProblemBank
from serving.probe.traces import prompt_with, timing
from serving.schemas import MAX_SEED
from verifier.estimators import wilson
from verifier.judgement import TraceJudgement
from verifier.recovery import Outcome, Planted, Unplanted, outcome
from verifier.seeds import derive

_NAMES = {
    RecoveryStart: named("start"),
    CellEvent: named("cell"),
    CheckpointEvent: named("checkpoint"),
    RecoveryAnswer: named("done"),
}
_Event = RecoveryStart | CellEvent | CheckpointEvent | RecoveryAnswer


def routes(service: Service, bank: ProblemBank) -> APIRouter:
    """The route over `service` and `bank`."""
    router = APIRouter(tags=["Probe"])

    @router.post("/v1/probe/recovery", response_model=RecoveryAnswer, responses=documented(stream=True))
    async def recover(request: Request, body: RecoveryRequest) -> Response:
        """Plant exact errors in a right trace and see which checkpoints recover, which follow them."""
        run = _map(service, bank, request, body)
        if body.stream:
            return service.work.stream(as_events(run, _NAMES), error_event)
        return json_answer(await service.work.whole(request, last(run, RecoveryAnswer)))

    return router


def shares(outcomes: Sequence[Outcome]) -> Shares:
    """What became of continuations, counted."""
    counts, n = Counter(outcomes), len(outcomes)
    recovered = counts[Outcome.RECOVERED]
    low, high = wilson(n, recovered)
    return Shares(
        n=n,
        recovered=recovered,
        followed=counts[Outcome.FOLLOWED],
        answer_only=counts[Outcome.ANSWER_ONLY],
        other=counts[Outcome.OTHER],
        cut_off=counts[Outcome.CUT_OFF],
        rate=recovered / n,
        lo=low,
        hi=high,
    )


@dataclass(frozen=True, slots=True)
class _Planting:
    """A right trace of a problem and the errors that are planted in it."""

    posed: Posed
    trace: str
    planted: tuple[Planted, ...]
    unplanted: tuple[Unplanted, ...]

    def errors(self) -> list[PlantedBody]:
        """What is planted, on the wire."""
        return [
            PlantedBody(
                step=one.step,
                node=one.name,
                alternative=one.alternative,
                right=one.right,
                told=one.told,
                prefix=one.prefix,
                first_error=one.first_error,
                leads_to=one.leads_to,
            )
            for one in self.planted
        ]

    def refusals(self) -> list[UnplantedBody]:
        """What cannot be planted, on the wire."""
        return [
            UnplantedBody(step=one.step, node=one.name, alternative=one.alternative, reason=one.reason)
            for one in self.unplanted
        ]


async def _planting(posed: Posed, body: RecoveryRequest, seed: int, clerk: Clerk) -> _Planting:
    """All alternatives at all steps, each a piece of work of its own. BadRequest where none can be made."""
    trace = body.trace if body.trace is not None else posed.trace
    if trace is None:
        raise BadRequest("no right trace is known of this item: give one", param="trace")
    trace = trace.strip()
    steps = await _steps(posed, trace, body, clerk)
    made = [
        await posed.plant(trace, step, alternative, seed, clerk) for step in steps for alternative in body.alternatives
    ]
    planted = tuple(one for one in made if isinstance(one, Planted))
    unplanted = tuple(one for one in made if isinstance(one, Unplanted))
    if not planted:
        why = "; ".join(dict.fromkeys(one.reason for one in unplanted))
        raise BadRequest(f"none of the alternatives can be made: {why}", param="steps", code="nothing_planted")
    return _Planting(posed, trace, planted, unplanted)


async def _steps(posed: Posed, trace: str, body: RecoveryRequest, clerk: Clerk) -> Sequence[int]:
    """The steps that are asked for, or some spread over the trace, which must be right."""
    judgement = await posed.judge(trace, clerk)
    if not isinstance(judgement, TraceJudgement):
        raise BadRequest("the traces of this task are not judged step by step", param="item", code="no_steps")
    if not judgement.verified:
        raise BadRequest("the trace is not right: an error can be planted in a verified one only", param="trace")
    count = len(judgement.steps)
    if body.steps is None:
        return spread(count)
    if max(body.steps) >= count:
        raise BadRequest(f"the trace has {count} steps, counted from 0", param="steps")
    return body.steps


def spread(count: int) -> list[int]:
    """Up to DEFAULT_STEPS of so many steps, evenly from the first to the last but one, which a later step reads."""
    last = max(0, count - 2)
    places = min(DEFAULT_STEPS, last + 1)
    return [round(place * last / max(1, places - 1)) for place in range(places)]


@dataclass(frozen=True, slots=True)
class _Mapping:
    """One map while it is drawn: each of its models goes on from each planted error."""

    service: Service
    clerk: Clerk
    body: RecoveryRequest
    planting: _Planting
    seed: int

    async def events(self, place: int, start: RecoveryStart) -> AsyncGenerator[_Event, None]:
        """The cells of one model in order, then its summary. The first model pays for the draws of all, and starts."""
        body, planted = self.body, self.planting.planted
        draw = Draw(body.max_tokens, body.temperature, body.top_p, self.seed)
        paid = len(planted) * len(body.models) if place == 0 else 0
        # As streamed: what follows a planted error says nothing of a canary's side.
        asked = self.service.session(
            body.models[place], self.clerk.caller, draw, sequences=body.samples, problems=paid, streamed=True
        )
        outcomes: list[Outcome] = []
        async with asked as session:
            if place == 0:
                yield start
            for number, error in enumerate(planted):
                draws = await self._draws(session, error)
                found = [Outcome(one.outcome) for one in draws]
                outcomes += found
                yield CellEvent(model=place, planted=number, shares=shares(found), draws=draws)
            policy = session.policy(self.service.engine)
        yield CheckpointEvent(model=place, policy=policy, shares=shares(outcomes))

    async def _draws(self, session: Session, error: Planted) -> list[DrawBody]:
        prefix = error.given
        prompt_ids = await session.encode(prompt_with(self.planting.posed.prompt, prefix), "problem")
        asks = (self._draw(session, error, prefix, prompt_ids, i) for i in range(self.body.samples))
        async with aclosing(as_done(asks)) as done:
            return sorted([one async for one in done], key=lambda one: one.seed)

    async def _draw(
        self, session: Session, error: Planted, prefix: str, prompt_ids: tuple[int, ...], index: int
    ) -> DrawBody:
        seed = derive(session.seed, error.step, error.alternative, index) % (MAX_SEED + 1)
        written = await session.reseeded(seed).write(prompt_ids, 0, 0)
        text = prefix + written.text
        judgement = await self.planting.posed.judge(text, self.clerk)
        assert isinstance(judgement, TraceJudgement), "a task that plants errors judges steps"
        await self.service.judged(session, judgement)
        as_if = await self.planting.posed.judge_as_if(error, text, self.clerk)
        became = outcome(error, judgement, as_if, len(prefix), written.finish_reason == "length")
        return DrawBody(seed=seed, outcome=became.value, answer=judgement.answer, text=text)


async def _map(
    service: Service, bank: ProblemBank, request: Request, body: RecoveryRequest
) -> AsyncGenerator[_Event, None]:
    """One map: what happens, in order."""
    arrived = time.monotonic()
    caller = caller_of(request, None)
    clerk = bank.clerk(caller)
    posed = await bank.find(body, caller)
    await service.router.registry.refresh()
    for model in body.models:
        service.router.registry.find(model)  # before anything is drawn
    seed = body.seed if body.seed is not None else secrets.randbelow(MAX_SEED)
    planting = await _planting(posed, body, seed, clerk)
    about = {"problem_id": posed.id, "trace": planting.trace, "seed": seed, "models": list(body.models)}
    about |= {"planted": planting.errors(), "unplanted": planting.refusals()}
    start = RecoveryStart(request_id=request.state.request_id, samples=body.samples, **about)
    mapping = _Mapping(service, clerk, body, planting, seed)
    cells: list[CellBody] = []
    checkpoints: list[CheckpointEvent] = []
    for place in range(len(body.models)):
        async with aclosing(mapping.events(place, start)) as events:
            async for event in events:
                yield event
                if isinstance(event, CheckpointEvent):
                    checkpoints.append(event)
                elif isinstance(event, CellEvent):
                    cells.append(CellBody(model=event.model, planted=event.planted, shares=event.shares))
    yield RecoveryAnswer(cells=cells, checkpoints=checkpoints, timing=timing(arrived, None), **about)
