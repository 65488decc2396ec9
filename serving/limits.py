"""The bounds of one connection, before any key is looked at. `GET /v1/limits` shows them; sizes are in bytes."""

from __future__ import annotations

from typing import Final

MAX_URL_BYTES: Final = 8192
MAX_HEADERS: Final = 100
MAX_HEAD_BYTES: Final = 32 * 1024  # the request line and all headers; and what frames the chunks of a body
MAX_PIPELINED: Final = 16  # requests sent before the answer to the first

HEAD_TIMEOUT_S: Final = 10.0  # from a request's first byte, or the connection's start, to the end of its headers
BODY_TIMEOUT_S: Final = 10.0  # for a body that a route reads
IDLE_TIMEOUT_S: Final = 60.0  # between two requests of one connection
UNREAD_BODY_S: Final = 1.0  # a body that nobody reads is thrown away for so long, then the connection closes
UNREAD_ANSWER_S: Final = 10.0  # in which a client must take MIN_READ_BYTES of an answer that waits for it
MAX_UNREAD_ANSWER_BYTES: Final = 1 << 20  # of a stream, in the server
MIN_READ_BYTES: Final = 16 * 1024

MAX_CONNECTIONS: Final = 512
MAX_CONNECTIONS_PER_ADDRESS: Final = 256
