"""The routes of runs: what the server was started with, read as it grows. `control_routes` alone changes a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from actors.runs.log import RunLog
from serving.desk import Desk
from serving.generation.service import Service
from serving.http.admission import Caller
from serving.http.answers import caller_of, documented_get, json_answer, json_bytes
from serving.http.errors import NotFound
from serving.http.sse import DONE, named
from serving.http.telling import error_event
from serving.runs import control_routes, curves, rollout_routes
from serving.runs.bodies import (
    ChangedEvent,
    ChangeList,
    FindingList,
    MetricsAnswer,
    PausedEvent,
    RunAnswer,
    RunCard,
    RunList,
    StepsEvent,
)
from serving.runs.changes import changes
from serving.runs.control import RunControl
from serving.runs.following import LOOK_S, FollowedRun, ServedRuns
from serving.runs.live import live
from serving.runs.watch import Watch

WATCH_S: Final = 50.0  # then a watcher asks again: no stream lasts longer than the deadline of every answer

RunName = Annotated[str, Path(max_length=64)]
StageName = Annotated[str | None, Query(max_length=100)]
Step = Annotated[int, Query(ge=0, le=2**53 - 1)]

_NAMES: Final = {StepsEvent: named("steps"), ChangedEvent: named("changed"), PausedEvent: named("done")}
_STREAM: Final = {200: {"description": "The events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}}


def routes(service: Service, control: RunControl) -> APIRouter:
    """The routes over the runs of `service`."""
    router = APIRouter(tags=["Runs"])
    runs = ServedRuns(service.router.registry.run_dirs, service.gate)
    reader = Desk(service.gate)  # a part of a large step takes a second to read

    @router.get("/v1/runs", response_model=RunList, responses=documented_get(503, 504))
    async def list_runs(request: Request) -> Response:
        """The runs that the server was started with and that are still there, with their stages."""
        cards = await service.work.whole(request, _cards(runs, caller_of(request, None)))
        return json_answer(RunList(data=cards))

    @router.get("/v1/runs/{run}", response_model=RunAnswer, responses=documented_get(503, 504))
    async def show_run(request: Request, run: RunName) -> Response:
        """One run: its stages, workers and counts, and where it stands if it is live."""
        found, controls = runs.find(run), request.state.scope == "admin"
        shown = found.ask(
            caller_of(request, None), lambda log: curves.overview(found.name, log, live(found.folder), controls)
        )
        return json_answer(await service.work.whole(request, shown))

    @router.get("/v1/runs/{run}/metrics", response_model=MetricsAnswer, responses=documented_get(503, 504))
    async def show_metrics(
        request: Request, run: RunName, stage: StageName = None, first: Step = 0, last: Step = 2**53 - 1
    ) -> Response:
        """The curves of a stage, at most 1,000 points each; a range of few enough steps has every step."""
        written = runs.find(run).answer(
            caller_of(request, None),
            ("metrics", stage, first, last),
            lambda log: curves.metrics(run, log, stage, first, last).model_dump_json().encode(),
        )
        return json_bytes(await service.work.whole(request, written))

    @router.get("/v1/runs/{run}/findings", response_model=FindingList, responses=documented_get(503, 504))
    async def show_findings(request: Request, run: RunName) -> Response:
        """What went wrong in the run's RL stages, in words (docs/diagnosis.md)."""
        written = runs.find(run).answer(
            caller_of(request, None), ("findings",), lambda log: curves.findings(log).model_dump_json().encode()
        )
        return json_bytes(await service.work.whole(request, written))

    @router.get("/v1/runs/{run}/changes", response_model=ChangeList, responses=documented_get(409, 503, 504))
    async def show_changes(request: Request, run: RunName) -> Response:
        """What changed on the held-out problems between the run's first and last evaluation, by its report."""
        read = reader.begin(caller_of(request, None), changes, runs.find(run).folder)
        return json_answer(await service.work.whole(request, read))

    @router.get("/v1/runs/{run}/events", responses=documented_get(503) | _STREAM)
    async def follow(request: Request, run: RunName, stage: StageName = None, after: Step = 0) -> Response:
        """The steps of a stage after a step, as they come: server-sent events for 50 s, then ask again."""
        events = _watch(service, runs, runs.find(run), caller_of(request, None), Watch(stage, after))
        return service.work.stream(events, error_event)

    router.include_router(rollout_routes.routes(service, runs, reader))
    router.include_router(control_routes.routes(service, runs, control))
    return router


async def _cards(runs: ServedRuns, caller: Caller) -> list[RunCard]:
    cards: list[RunCard] = []
    for run in runs:
        with suppress(NotFound):
            cards.append(await run.ask(caller, lambda log, name=run.name: curves.card(name, log)))
    return cards


async def _watch(
    service: Service, runs: ServedRuns, run: FollowedRun, caller: Caller, watch: Watch
) -> AsyncGenerator[bytes, None]:
    """What a watch sees, until its time is over or `changed` says to read the run anew."""
    ends = time.monotonic() + min(WATCH_S, 0.8 * service.work.deadline_s)
    with runs.watching(caller.key) as place:
        while time.monotonic() < ends:
            service.gate.require_open()
            place.require()
            told = await run.follow(caller, watch.version, partial(_told, watch))
            if told is not None:
                yield told.event
                if told.ends:
                    break
            await asyncio.sleep(max(0.0, min(LOOK_S, ends - time.monotonic())))
        else:
            yield _event(PausedEvent(after=watch.after))
    yield DONE


@dataclass(frozen=True, slots=True)
class _Told:
    """An event as it is sent, and whether it is the last."""

    event: bytes
    ends: bool


def _told(watch: Watch, log: RunLog) -> _Told | None:
    """What is new, written down where it is read: 200 steps of many strata would hold up the event loop."""
    news = watch.look(log)
    return None if news is None else _Told(_event(news), isinstance(news, ChangedEvent))


def _event(news: StepsEvent | ChangedEvent | PausedEvent) -> bytes:
    return _NAMES[type(news)](news)
