"""The routes of kept texts: which steps' rollouts a run has kept, a step's rows in pages, one row with its tokens, and
the traces behind what changed between its evaluations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from actors.rollouts.query import Status
from serving.desk import Desk
from serving.generation.service import Service
from serving.http.answers import caller_of, documented_get, json_bytes
from serving.runs import kept
from serving.runs.bodies import ChangedList, Fate, RolloutAnswer, RolloutPage, RolloutSteps
from serving.runs.changes import problems
from serving.runs.following import ServedRuns
from serving.runs.tokenizers import RunTokenizers

MAX_ROWS = 100

RunName = Annotated[str, Path(max_length=64)]
StageName = Annotated[str, Path(max_length=100)]
Step = Annotated[int, Path(ge=0, le=2**53 - 1)]


def routes(service: Service, runs: ServedRuns, reader: Desk) -> APIRouter:
    """The routes over what `runs` have kept, which is read at the desk `reader`."""
    router = APIRouter(tags=["Runs"])
    tokenizers = RunTokenizers(service.router.registry)

    async def read(request: Request, work: Callable[..., BaseModel], *of: Any) -> Response:
        written = reader.begin(caller_of(request, None), lambda: work(*of).model_dump_json().encode())
        return json_bytes(await service.work.whole(request, written))

    @router.get("/v1/runs/{run}/rollouts", response_model=RolloutSteps, responses=documented_get(503, 504))
    async def list_steps(request: Request, run: RunName) -> Response:
        """The steps whose rollouts the run keeps, by stage."""
        return await read(request, kept.steps, runs.find(run).folder)

    @router.get(
        "/v1/runs/{run}/rollouts/{stage}/{step}", response_model=RolloutPage, responses=documented_get(409, 503, 504)
    )
    async def list_rollouts(
        request: Request,
        run: RunName,
        stage: StageName,
        step: Step,
        stratum: Annotated[str | None, Query(max_length=200)] = None,
        status: Status | None = None,
        offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 50,
    ) -> Response:
        """A step's rollouts in short, in slot order, a page at a time."""
        return await read(request, kept.page, runs.find(run).folder, stage, step, stratum, status, offset, limit)

    @router.get(
        "/v1/runs/{run}/rollouts/{stage}/{step}/{row}",
        response_model=RolloutAnswer,
        responses=documented_get(409, 503, 504),
    )
    async def show_rollout(
        request: Request, run: RunName, stage: StageName, step: Step, row: Annotated[int, Path(ge=0, le=2**31 - 1)]
    ) -> Response:
        """One kept rollout: its text with its judgement, and its tokens with their numbers."""
        found = runs.find(run)
        return await read(request, lambda: kept.rollout(found.folder, stage, step, row, tokenizers.of(found.name)))

    @router.get("/v1/runs/{run}/traces", response_model=ChangedList, responses=documented_get(409, 503, 504))
    async def list_traces(
        request: Request, run: RunName, stratum: Annotated[str, Query(max_length=400)], fate: Annotated[Fate, Query()]
    ) -> Response:
        """The held-out problems of a stratum that were newly solved, lost, solved both times or never, with traces."""
        return await read(request, problems, runs.find(run).folder, stratum, fate)

    return router
