"""What all routes share: JSON answers, documented errors, the caller, and one shape for every error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from serving.http.admission import Caller
from serving.http.errors import BY_STATUS, ApiError, BadRequest, ServerFailed
from serving.http.sse import ClientGone
from serving.schemas import ErrorAnswer

_STATUSES = {
    400: "A field or the body is wrong; `param` names it.",
    401: "No key, or not a valid one.",
    403: "The key's scope does not cover this route.",
    404: "No such model, or no such run or part of it.",
    408: "The body did not arrive in time.",
    409: "Not possible now: the checkpoint does not load or is in use, what the run kept cannot be read, or the run "
    "is not live, stops, or has no workers yet.",
    413: "The body or the prompt is too large.",
    415: "The body is not application/json.",
    429: "The rate of this key is used up; see Retry-After.",
    500: "The server failed.",
    503: "Queue full, draining, no model, or the run is not reached; see Retry-After.",
    504: "Not ready within the deadline.",
}


def documented(stream: bool = False) -> dict[int | str, dict[str, Any]]:
    """The error answers of a POST route for its OpenAPI entry, and the event stream where there is one."""
    errors = _errors(_STATUSES)
    if stream:
        errors[200] = {
            "description": "The answer, or its events.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    return errors


def documented_get(*more: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a GET route."""
    return _errors((400, 401, 403, 404, 500, *more))


def _errors(statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """The shape by its name: given as a model, the framework would compile it for each status of each route."""
    schema = {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}
    return {s: {"description": _STATUSES[s], "content": {"application/json": {"schema": schema}}} for s in statuses}


def json_answer(body: BaseModel) -> Response:
    """A body as JSON, without the framework's second validation."""
    return Response(body.model_dump_json(), media_type="application/json")


def json_bytes(body: bytes) -> Response:
    """A body that is written down as JSON already."""
    return Response(body, media_type="application/json")


def caller_of(request: Request, user: str | None) -> Caller:
    """Who asks: the key, and the user that the request names."""
    return replace(request.state.caller, user=user)


def install_error_shape(app: FastAPI) -> None:
    """Answer every error of the framework and of the routes in the one shape."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _framework_error)
    app.add_exception_handler(ClientGone, _gone)
    app.add_exception_handler(Exception, _our_mistake)  # raised again after the answer, and logged by the guard


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    body = error.answer().model_dump_json()
    return Response(body, error.status, error.headers(), "application/json")


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _api_error(request, _as_bad_request(error.errors()[0]))


async def _framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = BY_STATUS.get(error.status_code, BadRequest if error.status_code < 500 else ApiError)
    texts = {404: f"there is no route {request.url.path[:80]!a}", 405: f"this route takes no {request.method}"}
    answer = await _api_error(request, kind(texts.get(error.status_code, "the body is not valid JSON")))
    if error.headers and "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


async def _our_mistake(request: Request, error: Exception) -> Response:
    return await _api_error(request, ServerFailed())


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the log shows it


def _as_bad_request(fault: dict[str, Any]) -> BadRequest:
    """Pydantic's first error, naming the field; the values that were sent are not repeated."""
    kind, loc = fault["type"], fault["loc"][1:]
    if kind == "json_invalid":
        return BadRequest("the body is not valid JSON", code="invalid_json")
    if kind == "extra_forbidden":  # `loc` ends in the client's own word, whatever that is
        name = str(loc[-1])[:80]
        return BadRequest(f"unknown field {name!a}", param=".".join((*_fields(loc[:-1]), name)), code="unknown_field")
    param = ".".join(_fields(loc)) or None
    if kind == "missing":
        return BadRequest(f"{param or 'the body'} is required", param=param, code="missing_field")
    message = fault["msg"].removeprefix("Value error, ")
    return BadRequest(f"{param}: {message}" if param else message, param=param)


def _fields(loc: Iterable[str | int]) -> list[str]:
    """Field names and positions; besides them, `loc` names the members of unions in pydantic's own words."""
    return [str(p) for p in loc if isinstance(p, int) or (p.isidentifier() and p not in ("str", "int"))]
