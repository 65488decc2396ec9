"""How long work is told: each event as it happens, or the last one alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from pydantic import BaseModel

from serving.http.sse import DONE, named

Told = TypeVar("Told")
Last = TypeVar("Last", bound=BaseModel)

error_event = named("error")
"""The event that ends a stream which has failed."""


async def as_events(
    run: AsyncGenerator[Told, None], names: Mapping[type[Any], Callable[[Any], bytes]]
) -> AsyncGenerator[bytes, None]:
    """Every event as a server-sent one, under the name of its class, then the end of the stream."""
    async with aclosing(run) as events:
        async for event in events:
            yield names[type(event)](event)
    yield DONE


async def last(run: AsyncGenerator[BaseModel, None], kind: type[Last]) -> Last:
    """The event that sums the work up, which is the last one."""
    told = None
    async with aclosing(run) as events:
        async for event in events:
            told = event
    assert isinstance(told, kind), f"the work ended without its {kind.__name__}"
    return told
