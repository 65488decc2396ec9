"""The routes that change a live run: the numbers of its workers, and its end. They ask for an admin key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Path as PathField
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from serving.generation.service import Service
from serving.http.answers import documented, json_answer
from serving.http.errors import Busy, Unavailable
from serving.runs.bodies import LiveBody, ScaleAnswer, ScaleRequest, StopAnswer, StopRequest
from serving.runs.control import NotTaken, RunControl
from serving.runs.following import ServedRuns
from serving.runs.live import live
from serving.threads import in_thread

RunName = Annotated[str, PathField(max_length=64)]


def routes(service: Service, runs: ServedRuns, control: RunControl) -> APIRouter:
    """The routes over what `control` reaches."""
    router = APIRouter(tags=["Admin"])
    asking = asyncio.Lock()

    async def ask(request: Request, work: Callable[..., None], *of: Any) -> None:
        if asking.locked():
            raise Busy("another change is on its way to a run; wait until it is answered", code="busy")
        async with asking:
            try:
                await service.work.whole(request, in_thread(work, *of))
            except NotTaken as error:
                raise Unavailable(f"the run did not take it: {error}", code="not_reached", retry_after_s=5) from error

    @router.post("/v1/admin/runs/{run}/scale", response_model=ScaleAnswer, responses=documented())
    async def scale(request: Request, run: RunName, body: ScaleRequest) -> Response:
        """Change the numbers of workers of a live run. Answers when the run has taken them; the workers follow."""
        folder = runs.find(run).folder
        at = await run_in_threadpool(_require_live, run, folder)
        if at.fleet is None:
            raise Busy(f"{run} has no workers yet: its first evaluation or RL stage starts them", code="no_workers")
        await ask(request, control.scale, folder, body.rollout_workers, body.reward_workers)
        return json_answer(ScaleAnswer(rollout_workers=body.rollout_workers, reward_workers=body.reward_workers))

    @router.post("/v1/admin/runs/{run}/stop", response_model=StopAnswer, responses=documented())
    async def stop(request: Request, run: RunName, body: StopRequest) -> Response:
        """Ask a live run to save and end. Answers when it has been asked; `live` of the run is null at its end."""
        folder = runs.find(run).folder
        await run_in_threadpool(_require_live, run, folder)
        await ask(request, control.stop, folder)
        return json_answer(StopAnswer())

    return router


def _require_live(run: str, folder: Path) -> LiveBody:
    """Where the run stands. Busy if it is not live, or is stopping."""
    at = live(folder)
    if at is None:
        raise Busy(f"{run} is not live: nothing works in its folder, or it was killed", code="not_live")
    if at.stopping:
        raise Busy(f"{run} is stopping already: it saves, then ends", code="already_stopping")
    return at
