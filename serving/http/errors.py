"""The errors that a caller of the HTTP API can meet, and their one body. No HTTP framework here.

ApiError                 carries status, type, code, param and Retry-After
  BadRequest      400    a field or the body is wrong; `param` names it
  Unauthorized    401    no key, or none that we know
  Forbidden       403    the key's scope does not cover the route
  NotFound        404    no such model or route
  HeadTimeout     408    the headers did not arrive in time
  BodyTimeout     408    the body did not arrive in time
  ReadTimeout     408    the client left its stream unread
  Busy            409    the checkpoint cannot be loaded, unloaded or replaced now
  TooLarge        413    body or prompt
  UrlTooLong      414    the request's address
  WrongType       415    not application/json
  TooManyRequests 429    this key's rate
  HeadTooLarge    431    request line and headers, or their number
  ServerFailed    500    a mistake of our own
  Unavailable     503    queue full, draining, no model or no room for a connection; always with Retry-After
  DeadlineExceeded 504   the answer was not ready in time
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Final

from serving.schemas import ErrorAnswer, ErrorBody

_PATH: Final = re.compile(r"(?<![\w./])/(?:[^\s/'\"]+/)*([^\s/'\"]+)")


class ApiError(ValueError):
    """An error answer: `message` says what is wrong and what would be right."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.own_code = code or self.code
        self.retry_after_s = retry_after_s

    def answer(self) -> ErrorAnswer:
        """The body; no part of the request beyond field names and ids is echoed."""
        return ErrorAnswer(
            error=ErrorBody(message=str(self), type=self.type, param=self.param, code=self.own_code),
        )

    def headers(self) -> dict[str, str]:
        """The headers that belong to the status."""
        retry = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s is not None else {}
        return retry | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


class BadRequest(ApiError):
    """A field or the body is wrong."""

    status, type, code = 400, "invalid_request_error", "invalid_value"


class Unauthorized(ApiError):
    """No key, or none that we know."""

    status, type, code = 401, "authentication_error", "invalid_api_key"


class Forbidden(ApiError):
    """The key is good, its scope is not enough."""

    status, type, code = 403, "permission_error", "insufficient_scope"


class NotFound(ApiError):
    """No such model or route."""

    status, type, code = 404, "invalid_request_error", "not_found"


class MethodNotAllowed(ApiError):
    """The route exists with another method."""

    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class HeadTimeout(ApiError):
    """The headers did not arrive in time."""

    status, type, code = 408, "invalid_request_error", "head_timeout"


class BodyTimeout(ApiError):
    """The body did not arrive in time (a slow or stalled sender)."""

    status, type, code = 408, "invalid_request_error", "body_timeout"


class ReadTimeout(ApiError):
    """The client does not read its answer."""

    status, type, code = 408, "invalid_request_error", "read_timeout"


class Busy(ApiError):
    """The checkpoint or engine slot is in use, or the checkpoint is not what its manifest says."""

    status, type, code = 409, "conflict_error", "busy"


class TooLarge(ApiError):
    """Body or prompt."""

    status, type, code = 413, "invalid_request_error", "too_large"


class UrlTooLong(ApiError):
    """The request's address."""

    status, type, code = 414, "invalid_request_error", "url_too_long"


class WrongType(ApiError):
    """Not application/json."""

    status, type, code = 415, "invalid_request_error", "unsupported_media_type"


class TooManyRequests(ApiError):
    """This key's rate is used up."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class HeadTooLarge(ApiError):
    """Request line and headers together, or the number of headers."""

    status, type, code = 431, "invalid_request_error", "head_too_large"


class ServerFailed(ApiError):
    """A mistake of our own: what it was stands in the log only."""

    def __init__(self) -> None:
        super().__init__("the server failed on this request; its log has the request id")


class Unavailable(ApiError):
    """Queue full, draining, no model, or no room for a connection; a caller may try again."""

    status, type, code = 503, "overloaded_error", "unavailable"

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: int = 1) -> None:
        super().__init__(message, code=code, retry_after_s=retry_after_s)


class DeadlineExceeded(ApiError):
    """The answer was not ready in time; what was being generated has been aborted."""

    status, type, code = 504, "timeout_error", "deadline_exceeded"


BY_STATUS: dict[int, type[ApiError]] = {
    error.status: error
    for error in (BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, TooLarge, WrongType)
}
"""For errors that the framework raises by status alone."""


def without_paths(text: str, *folders: Path) -> str:
    """The text of an error for a client: the folders of this machine are taken out, names of files stay."""
    for folder in folders:
        text = text.replace(f"{folder}/", "").replace(str(folder), folder.name)
    return _PATH.sub(r"\1", text)
