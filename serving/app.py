"""The HTTP application: every route of the server, in one place.

All paths but `/healthz`, `/` and `/static/*` need `Authorization: Bearer KEY`. Scopes nest: admin > probe > read.
Errors, everywhere: `{"error": {"message", "type", "param", "code"}}` and the header `x-request-id`.

    read   GET  /readyz  /version  /metrics (Prometheus text)  /openapi.json
           GET  /v1/limits                -> schemas.Limits
           GET  /v1/models                -> schemas.ModelList        GET /v1/models/{id} -> schemas.ModelCard
           GET  /v1/runs                  -> runs.bodies.RunList      GET /v1/runs/{run} -> RunAnswer
           GET  /v1/runs/{run}/metrics    -> MetricsAnswer            GET /v1/runs/{run}/findings -> FindingList
           GET  /v1/runs/{run}/events     -> SSE                      GET /v1/runs/{run}/changes -> ChangeList
    probe  GET  /v1/runs/{run}/rollouts   -> RolloutSteps             GET .../{stage}/{step} -> RolloutPage
           GET  /v1/runs/{run}/rollouts/{stage}/{step}/{row} -> RolloutAnswer
           GET  /v1/runs/{run}/traces     -> ChangedList
           POST /v1/completions           openai_schemas.CompletionRequest -> CompletionAnswer | SSE
           POST /v1/chat/completions      openai_schemas.ChatRequest -> ChatAnswer | SSE
           GET  /v1/probe/task            -> probe.bodies.TaskAnswer (the served task and its strata)
           POST /v1/probe/items           ItemRequest -> ItemAnswer (a held-out item of the served task)
           POST /v1/probe/problems        ProblemRequest -> ProblemAnswer (an op-graph problem, laid out)
           POST /v1/probe/verify          VerifyRequest -> VerifyAnswer
           POST /v1/probe/draw            DrawRequest -> SVG
           POST /v1/probe/solve           SolveRequest -> SSE | SolveAnswer
           POST /v1/probe/continue        ContinueRequest -> SSE | SolveAnswer
           POST /v1/probe/compare         CompareRequest -> CompareAnswer
           POST /v1/probe/pass-at-k       PassAtKRequest -> SSE | PassAtKAnswer
           POST /v1/probe/recovery        RecoveryRequest -> SSE | RecoveryAnswer
    admin  POST /v1/admin/load, /unload   LoadRequest -> LoadAnswer
           POST /v1/admin/alias           AliasRequest -> AliasAnswer
           POST /v1/admin/canary          CanaryRequest -> CanaryAnswer     GET /v1/admin/canary -> CanaryAnswer
           POST /v1/admin/runs/{run}/scale   runs.bodies.ScaleRequest -> ScaleAnswer
           POST /v1/admin/runs/{run}/stop    StopRequest -> StopAnswer
    open   GET  /healthz -> Live          GET / (the page)          GET /static/* (its files)

Streams of the probe API are server-sent events with a name (`event: NAME`, `data: JSON` on one line):

    solve, continue   start StartEvent, then token TokenEvent* and step StepEvent* as they happen, then done SolveAnswer
    pass-at-k         start PassStart, then sample SampleEvent* and between them, at most 127 times, estimate
                      EstimateEvent, then done PassAtKAnswer
    runs              steps StepsEvent as they come; changed ChangedEvent or, after 50 s, done PausedEvent ends it
    recovery          start RecoveryStart, then for each model cell CellEvent* and checkpoint CheckpointEvent, then done
                      RecoveryAnswer
    any               error ErrorEvent: the last event of a stream that failed

After `done` comes the unnamed `data: [DONE]`; after `error` nothing. A comment line `: beat` every 10 s keeps
connections open. The streams of `/v1/completions` and `/v1/chat/completions` are OpenAI's (unnamed events).
"""

from __future__ import annotations

import asyncio
import json
import pathlib
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from serving.admin import routes as admin
from serving.desk import QUEUED, Desk
from serving.generation.service import Service
from serving.http import metrics
from serving.http.admission import Budget
from serving.http.answers import documented_get, install_error_shape, json_answer
from serving.http.errors import Unavailable
from serving.http.guard import Guard
from serving.http.key_ring import KeyRing
from serving.http.keys import MAX_KEY_CHARS
from serving.models.registry import Entry, created_at
from serving.openai import routes as openai
from serving.probe import compare, pass_at_k, recovery
from serving.probe import routes as probe
from serving.probe.bodies.events import EVENTS
from serving.probe.items import ServedTask
from serving.probe.posed import ProblemBank
from serving.runs import routes as runs
from serving.runs.bodies import EVENTS as RUN_EVENTS
from serving.runs.control import RunControl
from serving.schemas import ErrorAnswer, Limits, Live, ModelCard, ModelList, Ready, Version

PAGE = pathlib.Path(__file__).parent / "web"


def create_app(
    service: Service,
    control: RunControl,
    task: ServedTask | None,
    keys: KeyRing,
    rate_per_minute: int,
    burst: int,
    behind_serve: bool,
) -> Guard:
    """The whole application over `service`, the live runs and the served task, behind its guard."""
    limits = Limits(
        rate_per_minute=rate_per_minute,
        burst=burst,
        tokens_per_minute=service.tokens.per_minute,
        running=service.gate.running,
        reserve=service.gate.reserve,
        queued=service.gate.queued,
        work_queued=QUEUED,
        key_chars=MAX_KEY_CHARS,
    )
    rate = Budget("request", rate_per_minute, burst)
    return Guard(build_routes(service, limits, control, task), keys, rate, service.metrics, service.gate, behind_serve)


def build_routes(service: Service, limits: Limits, control: RunControl, task: ServedTask | None = None) -> FastAPI:
    """The routes alone: what the OpenAPI file describes."""
    app = FastAPI(
        title="Interplay",
        version=version("interplay"),
        description="Any checkpoint of a run over HTTP, judged step by step.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    install_error_shape(app)
    app.include_router(_operations(service, limits, app))
    for module in (openai, admin):
        app.include_router(module.routes(service))
    app.include_router(runs.routes(service, control))
    bank = ProblemBank(task, Desk(service.gate))
    for module in (probe, compare, pass_at_k, recovery):
        app.include_router(module.routes(service, bank))
    _add_page(app)
    return app


def openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: the framework's, with the key, the events, and without the error that it never sends."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):  # ours is ErrorAnswer with status 400
        schemas.pop(name, None)
    for operation in (o for methods in document["paths"].values() for o in methods.values()):
        operation["responses"].pop("422", None)
    _, events = models_json_schema(
        [(m, "serialization") for m in (ErrorAnswer, *EVENTS, *RUN_EVENTS)], ref_template="#/components/schemas/{model}"
    )
    schemas.update({name: schema for name, schema in events["$defs"].items() if name not in schemas})
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    document["paths"]["/healthz"]["get"]["security"] = []
    return document


def _operations(service: Service, limits: Limits, app: FastAPI) -> APIRouter:
    router = APIRouter(tags=["Operations"])
    registry = service.router.registry
    written, one_writes = cache(lambda: json.dumps(openapi(app)).encode()), asyncio.Lock()

    @router.get("/healthz", response_model=Live)
    async def healthz() -> Response:
        """Whether the process lives. Open to all."""
        return json_answer(Live())

    @router.get("/readyz", response_model=Ready, responses=documented_get(503))
    async def readyz() -> Response:
        """Whether at least one model answers and the server is not draining."""
        if not service.ready:
            service.prepare()
            raise Unavailable("no model answers yet, or the server is shutting down", code="not_ready")
        return json_answer(Ready(loaded=service.router.pool.loaded))

    @router.get("/version", response_model=Version, responses=documented_get())
    async def show_version() -> Response:
        """The versions of the server and its engine."""
        return json_answer(Version(interplay=version("interplay"), engine=service.engine, ray=version("ray")))

    @router.get("/metrics", responses=documented_get() | {200: {"content": {"text/plain": {}}}})
    async def show_metrics() -> Response:
        """This replica's metrics, for Prometheus."""
        service.metrics.running.set(service.gate.used)
        service.metrics.queued.set(service.gate.depth)
        service.metrics.loaded.set(len(service.router.pool.loaded))
        return Response(service.metrics.text(), media_type=metrics.CONTENT_TYPE)

    @router.get("/openapi.json", responses=documented_get())
    async def document() -> Response:
        """This API in OpenAPI's form."""
        async with one_writes:  # all who ask first would write it, side by side
            return Response(await run_in_threadpool(written), media_type="application/json")

    @router.get("/v1/limits", response_model=Limits, responses=documented_get())
    async def show_limits() -> Response:
        """Every bound that a request can run into."""
        return json_answer(limits)

    @router.get("/v1/models", response_model=ModelList, responses=documented_get())
    async def models() -> Response:
        """What can be asked: aliases, then checkpoints in the order of training."""
        await registry.refresh()
        return json_answer(await run_in_threadpool(_model_list, service))

    @router.get("/v1/models/{model}", response_model=ModelCard, responses=documented_get())
    async def model(model: Annotated[str, Path(max_length=200)]) -> Response:
        """One checkpoint or alias."""
        await registry.refresh()
        entry = await run_in_threadpool(registry.find, model)
        return json_answer(_card(service, model, entry))

    return router


def _model_list(service: Service) -> ModelList:
    registry = service.router.registry
    entries = registry.entries()
    named = [*registry.aliases().items(), *entries.items()]
    return ModelList(data=[_card(service, name, entry) for name, entry in named])


def _card(service: Service, name: str, entry: Entry) -> ModelCard:
    manifest = entry.manifest
    return ModelCard(
        id=name,
        created=created_at(manifest),
        alias_of=None if name == entry.id else entry.id,
        run=entry.run,
        stage=manifest.stage,
        step=manifest.step,
        checkpoint=manifest.id,
        parent=manifest.parent,
        weight_hash=manifest.weight_hash,
        tokenizer_hash=manifest.tokenizer_hash,
        tokens=manifest.tokens,
        flops=manifest.flops,
        score=manifest.score,
        loaded=entry.id in service.router.pool.loaded,
        max_model_len=service.router.pool.max_model_len(entry.id),
    )


def _add_page(app: FastAPI) -> None:
    """The probe page: a shell without data. Keys are typed into it and travel with its requests only."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=PAGE, check_dir=False))
