"""What tests of vLLM engines share."""

from __future__ import annotations

from typing import Any, cast

from actors.engines.protocol import Engine


def driver_of(engine: Engine) -> Any:
    """The thread of a vLLM engine, which no protocol shows."""
    return cast("Any", engine)._driver
