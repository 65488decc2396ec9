"""The port of a replica that listens itself (docs/decisions/0070): taken again at once after a crash.

Serve binds it without SO_REUSEADDR, as no other server does. The kernel keeps the idle connections of a process that
was killed for a minute, and for so long every new replica would fail to bind and be started again.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any


class _Reusing(socket.socket):
    """Binds although connections of the process before it are still being closed; never beside one that listens."""

    def bind(self, address: Any, /) -> None:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        super().bind(address)


def take_the_port_again() -> None:
    """Have Serve's server of this process bind so. Ray 2.60 has no setting for it."""
    from ray.serve._private import http_util

    http_util.socket = SimpleNamespace(**(vars(socket) | {"socket": _Reusing}))  # pyright: ignore[reportAttributeAccessIssue]
