"""The routes of runs: what the server was started with, read as it grows. `control_routes` alone changes a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from serving.generation.service import Service
from serving.http.answers import documented_get, json_answer, json_bytes
from serving.http.errors import NotFound, Unavailable
from serving.http.sse import named
from serving.http.telling import as_events, error_event
from serving.runs import control_routes, curves, rollout_routes
from serving.runs.bodies import (
    ChangedEvent,
    ChangeList,
    FindingList,
    MetricsAnswer,
    PausedEvent,
    RunAnswer,
    RunList,
    StepsEvent,
)
from serving.runs.changes import changes
from serving.runs.control import RunControl
from serving.runs.following import LOOK_S, ServedRuns
from serving.runs.live import live
from serving.runs.watch import Watch

WATCH_S: Final = 50.0  # then a watcher asks again: no stream lasts longer than the deadline of every answer

RunName = Annotated[str, Path(max_length=64)]
StageName = Annotated[str | None, Query(max_length=100)]
Step = Annotated[int, Query(ge=0, le=2**53 - 1)]

_Event = StepsEvent | ChangedEvent | PausedEvent
_NAMES: Final = {StepsEvent: named("steps"), ChangedEvent: named("changed"), PausedEvent: named("done")}
_STREAM: Final = {200: {"description": "The events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}}


def routes(service: Service, control: RunControl) -> APIRouter:
    """The routes over the runs of `service`."""
    router = APIRouter(tags=["Runs"])
    runs = ServedRuns(service.router.registry.run_dirs)

    @router.get("/v1/runs", response_model=RunList, responses=documented_get())
    async def list_runs() -> Response:
        """The runs that the server was started with and that are still there, with their stages."""
        cards = []
        for run in runs:
            with suppress(NotFound):
                async with run.log() as log:
                    cards.append(curves.card(run.name, log))
        return json_answer(RunList(data=cards))

    @router.get("/v1/runs/{run}", response_model=RunAnswer, responses=documented_get())
    async def show_run(request: Request, run: RunName) -> Response:
        """One run: its stages, workers and counts, and where it stands if it is live."""
        found = runs.find(run)
        at = await run_in_threadpool(live, found.folder)
        async with found.log() as log:
            return json_answer(curves.overview(found.name, log, at, request.state.scope == "admin"))

    @router.get("/v1/runs/{run}/metrics", response_model=MetricsAnswer, responses=documented_get())
    async def show_metrics(
        run: RunName, stage: StageName = None, first: Step = 0, last: Step = 2**53 - 1
    ) -> Response:
        """The curves of a stage, at most 1,000 points each; a range of few enough steps has every step."""
        found = runs.find(run)
        key = "metrics", stage, first, last
        return json_bytes(
            await found.answer(key, lambda log: curves.metrics(run, log, stage, first, last).model_dump_json().encode())
        )

    @router.get("/v1/runs/{run}/findings", response_model=FindingList, responses=documented_get())
    async def show_findings(run: RunName) -> Response:
        """What went wrong in the run's RL stages, in words (docs/diagnosis.md)."""
        written = await runs.find(run).answer(("findings",), lambda log: curves.findings(log).model_dump_json().encode())
        return json_bytes(written)

    @router.get("/v1/runs/{run}/changes", response_model=ChangeList, responses=documented_get(409))
    async def show_changes(run: RunName) -> Response:
        """What changed on the held-out problems between the run's first and last evaluation, by its report."""
        return json_answer(await run_in_threadpool(changes, runs.find(run).folder))

    @router.get("/v1/runs/{run}/events", responses=documented_get(503) | _STREAM)
    async def follow(run: RunName, stage: StageName = None, after: Step = 0) -> Response:
        """The steps of a stage after a step, as they come: server-sent events for 50 s, then ask again."""
        return service.work.stream(
            as_events(_watch(service, runs, Watch(runs.find(run), stage, after)), _NAMES), error_event
        )

    router.include_router(rollout_routes.routes(service, runs))
    router.include_router(control_routes.routes(service, runs, control))
    return router


async def _watch(service: Service, runs: ServedRuns, watch: Watch) -> AsyncGenerator[_Event, None]:
    """What a watch sees, until its time is over or `changed` says to read the run anew."""
    ends = time.monotonic() + min(WATCH_S, 0.8 * service.work.deadline_s)
    with runs.watching():
        while time.monotonic() < ends:
            if service.gate.closed:
                raise Unavailable("the server is shutting down", code="draining", retry_after_s=5)
            news = await watch.look()
            if news is not None:
                yield news
            if isinstance(news, ChangedEvent):
                return
            await asyncio.sleep(max(0.0, min(LOOK_S, ends - time.monotonic())))
        yield PausedEvent(after=watch.after)
