"""The admin routes: what is in memory, what aliases mean, the canary. Models are named by id, never by path."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from serving.generation.service import Service
from serving.http.answers import documented, documented_get, json_answer
from serving.http.errors import NotFound
from serving.models.registry import CanarySetting
from serving.schemas import AliasAnswer, AliasRequest, CanaryAnswer, CanaryRequest, LoadAnswer, LoadRequest


def routes(service: Service) -> APIRouter:
    """The routes over `service`. Settings are shared by all replicas; engines are this replica's."""
    router = APIRouter(tags=["Admin"])
    registry, pool = service.router.registry, service.router.pool

    @router.post("/v1/admin/load", response_model=LoadAnswer, responses=documented())
    async def load(request: Request, body: LoadRequest) -> Response:
        """Bring a model into memory and pin it there. 409 with the reason when it does not load."""
        await registry.refresh()
        entry = registry.find(body.model)
        await service.work.whole(request, pool.load(entry))
        state = await run_in_threadpool(registry.pin, entry.id)
        return json_answer(LoadAnswer(loaded=pool.loaded, pinned=list(state.pinned)))

    @router.post("/v1/admin/unload", response_model=LoadAnswer, responses=documented())
    async def unload(request: Request, body: LoadRequest) -> Response:
        """Unpin a model and drop it from memory. 409 while it answers requests."""
        await registry.refresh()
        held = (*pool.loaded, *registry.state().pinned)
        model = body.model if body.model in held else registry.find(body.model).id  # it may have been deleted
        if model not in held:
            raise NotFound(f"{model} is not loaded", param="model", code="not_loaded")
        if model in pool.loaded:
            await service.work.whole(request, pool.unload(model))
        state = await run_in_threadpool(registry.unpin, model)
        return json_answer(LoadAnswer(loaded=pool.loaded, pinned=list(state.pinned)))

    @router.post("/v1/admin/alias", response_model=AliasAnswer, responses=documented())
    async def alias(body: AliasRequest) -> Response:
        """Point an alias at a model, or let it follow the run again."""
        await run_in_threadpool(registry.set_alias, body.alias, body.model)
        return json_answer(AliasAnswer(aliases={name: entry.id for name, entry in registry.aliases().items()}))

    @router.post("/v1/admin/canary", response_model=CanaryAnswer, responses=documented())
    async def set_canary(body: CanaryRequest) -> Response:
        """Give a model a share of an alias's traffic; its judgements decide whether it stays."""
        setting = CanarySetting(alias=body.alias, model=body.model, share=body.share)
        await run_in_threadpool(service.canary.start, setting)
        return json_answer(service.canary.answer())

    @router.get("/v1/admin/canary", response_model=CanaryAnswer, responses=documented_get())
    async def get_canary() -> Response:
        """The canary's state and the audit lines."""
        return json_answer(service.canary.answer())

    return router
