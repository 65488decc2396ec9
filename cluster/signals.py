"""SIGTERM for a command that has to clean up. Not the exit codes, which are `cluster.cli`'s."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def sigterm_as_interrupt() -> Generator[None]:
    """Inside the block SIGTERM does what Ctrl-C does; outside the main thread, where no handler can be set, nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
