"""A request's body: read within its limits, and scanned before anything parses it.

The scan is a fixed number of passes of numpy and the bytes type over the whole body, so it is linear in its length
whatever it holds; a body of more than a few kilobytes is scanned in a thread, where numpy lets other threads run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import numpy as np

from serving.http.errors import BadRequest, TooLarge, WrongType
from serving.schemas import MAX_BODY_BYTES, MAX_JSON_DEPTH, MAX_JSON_FIELDS, MAX_JSON_VALUES

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_IN_A_THREAD_BYTES: Final = 8 * 1024
_QUOTE: Final = ord('"')
_COLON: Final = ord(":")
_LEVELS: Final = np.zeros(256, np.int8)
_LEVELS[list(b"[{")] = 1
_LEVELS[list(b"]}")] = -1
_SEPARATORS: Final = np.zeros(256, np.bool_)
_SEPARATORS[list(b"[{,:")] = True


async def read_json(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The whole body: JSON of bounded size, depth, values and fields. ApiError says which bound it breaks."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length[:12]) > MAX_BODY_BYTES:
        raise _too_large()
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise WrongType("send the body as 'Content-Type: application/json'")
    body = await _whole(receive)
    if len(body) > _IN_A_THREAD_BYTES:
        await asyncio.to_thread(check_json, body)
    else:
        check_json(body)
    return body


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the connection closed before the body was complete", code="incomplete_body")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return b"".join(parts)


def check_json(body: bytes) -> None:
    """Refuse before parsing what would make a parser recurse, or parsing and validation hold the loop for long."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 (byte {error.start})", code="invalid_json") from None
    outside = _outside_strings(body)
    depth = np.cumsum(_LEVELS[outside], dtype=np.int32)
    if depth.size and depth.max() > MAX_JSON_DEPTH:
        raise BadRequest(f"the body nests deeper than {MAX_JSON_DEPTH} levels", code="too_deep")
    if np.count_nonzero(_SEPARATORS[outside]) > MAX_JSON_VALUES:
        raise BadRequest(f"the body holds more than {MAX_JSON_VALUES} values", code="too_many_values")
    if np.count_nonzero(outside == _COLON) > MAX_JSON_FIELDS:
        raise BadRequest(f"the body holds more than {MAX_JSON_FIELDS} fields", code="too_many_fields")


def _outside_strings(body: bytes) -> np.ndarray:
    """The body's bytes with all that lies in strings made 0; a string that never closes reaches to the end."""
    plain = np.frombuffer(body.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    inside = np.bitwise_xor.accumulate((plain == _QUOTE).view(np.uint8))
    return plain * (1 - inside)


def _too_large() -> TooLarge:
    return TooLarge(f"the body may have {MAX_BODY_BYTES} bytes at most")
