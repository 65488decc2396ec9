"""The check in front of every route: request id, key, scope, rate, body limits, one log line and one error shape.

A plain ASGI wrapper, so that it also covers what the framework answers by itself (404, 405, validation) and costs
little. It never logs a key, a prompt or a body.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from serving.http.admission import Budget, Caller, Gate
from serving.http.bodies import read_json
from serving.http.errors import ApiError, BodyTimeout, Forbidden, ServerFailed, Unauthorized
from serving.http.key_ring import KeyRing
from serving.http.keys import RANK, Scope
from serving.http.metrics import Metrics
from serving.limits import BODY_TIMEOUT_S

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Scope_ = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope_, Receive, Send], Awaitable[None]]

_OPEN_PATHS: Final = frozenset({"/", "/healthz", "/favicon.ico"})
_GENERATING: Final = frozenset(
    {"/v1/completions", "/v1/chat/completions"}
    | {f"/v1/probe/{name}" for name in ("solve", "continue", "compare", "pass-at-k", "recovery")}
)
_TEXTS: Final = re.compile(r"/v1/runs/[^/]+/(rollouts|traces)")  # problems and texts, as the probe shows them
_OPEN_PREFIX: Final = "/static/"
_RANGE: Final = (
    b"range"  # of a file: the framework answers it in shapes of its own, and is slow where many are asked for
)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _PAGE_POLICY.encode()),
)


def scope_of(path: str) -> Scope | None:
    """The scope that a path asks for; None for the open ones. Unknown paths ask for `read`, then answer 404."""
    if path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX):
        return None
    if path.startswith("/v1/admin/"):
        return "admin"
    if path.startswith(("/v1/probe/", "/v1/completions", "/v1/chat/")) or _TEXTS.match(path):
        return "probe"
    return "read"


class Guard:
    """Wraps the application. `caller` (an admission.Caller), the key's `scope` and `request_id` are in the state."""

    def __init__(self, app: App, keys: KeyRing, rate: Budget, metrics: Metrics, gate: Gate, behind_serve: bool) -> None:
        self._gate = gate
        self.body_timeout_s = BODY_TIMEOUT_S
        self._behind_serve = behind_serve  # Serve's own front adds the request id to every answer
        self._app = app
        self._keys = keys
        self._rate = rate
        self._metrics = metrics

    async def __call__(self, scope: Scope_, receive: Receive, send: Send) -> None:
        """One connection. Only HTTP requests are guarded; there are no web sockets."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, not self._behind_serve)
        try:
            await self._admit(scope, answer.headers_in)
            scope["headers"] = [header for header in scope["headers"] if header[0] != _RANGE]
            body = await self._body(scope, answer.headers_in, receive)
            await self._app(scope, _replay(body, receive), answer.send)
        except ApiError as error:
            await answer.fail(error)
        except Exception:  # of a route, it has been answered already, in the same words
            logger.exception("request_failed", extra={"request_id": answer.request_id})
            await answer.fail(ServerFailed())
        finally:
            self._note(scope, answer)

    async def _admit(self, scope: Scope_, headers: dict[bytes, bytes]) -> None:
        needed = scope_of(scope["path"])
        if needed is None:
            return
        record = self._keys.find(_bearer(headers))
        if record is None:
            raise Unauthorized("send a valid key as 'Authorization: Bearer KEY'")
        caller = scope["state"]["caller"] = Caller(record.name, record.weight)
        scope["state"]["scope"] = record.scope
        if RANK[record.scope] < RANK[needed]:
            raise Forbidden(f"this route needs a key of scope {needed}; this one has {record.scope}")
        self._rate.take(caller.key)
        if scope["path"] in _GENERATING:
            self._gate.require_room(caller)  # before the body is read, so that a refusal costs little

    async def _body(self, scope: Scope_, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The body of a POST that a route takes; any other is left unread."""
        if scope["method"] != "POST" or scope_of(scope["path"]) is None:
            return b""
        try:
            return await asyncio.wait_for(read_json(headers, receive), self.body_timeout_s)
        except TimeoutError:
            raise BodyTimeout(f"the body did not arrive within {self.body_timeout_s:.0f} s") from None

    def _note(self, scope: Scope_, answer: _Answer) -> None:
        seconds = time.monotonic() - answer.started
        route = getattr(scope.get("route"), "path", "other")
        status = str(answer.status or 499)
        self._metrics.requests.labels(route=route, status=status).inc()
        self._metrics.latency.labels(route=route).observe(seconds)
        if status in ("429", "503"):
            self._metrics.refusal.observe(seconds)
        caller = scope["state"].get("caller")
        logger.info(
            "request",
            extra={
                "request_id": answer.request_id,
                "method": scope["method"],
                "route": route,
                "status": int(status),
                "ms": round(seconds * 1000, 1),
                "key": caller.key if caller else None,
            },
        )


class _Answer:
    """Adds the headers that every answer has, and remembers whether one has begun."""

    def __init__(self, scope: Scope_, send: Send, names_request: bool) -> None:
        self._names_request = names_request
        self.started = time.monotonic()
        self.status: int | None = None
        self.headers_in: dict[bytes, bytes] = dict(scope["headers"])
        wished = self.headers_in.get(b"x-request-id", b"").decode("latin-1")
        self.request_id = wished if _REQUEST_ID.fullmatch(wished) else f"req-{secrets.token_hex(12)}"
        state = scope.setdefault("state", {})
        state["request_id"] = self.request_id
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(b"x-request-id", self.request_id.encode())] if self._names_request else []
            headers = [*message.get("headers", ()), *_ALWAYS, *own]
            message = {**message, "headers": headers}
        await self._send(message)

    async def fail(self, error: ApiError) -> None:
        """The error as an answer; nothing when one has begun already (its stream just ends)."""
        if self.status is not None:
            return
        body = error.answer().model_dump_json().encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers().items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _bearer(headers: dict[bytes, bytes]) -> str:
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once more for the routes; after it, the connection itself (which tells of a disconnect)."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
