"""`live.json` of a run folder: where a live run stands, for readers that do not join its Ray, such as a server.

A thread of the run's command writes it; it runs beside the stages, so writing never delays a step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from actors.files import replace_text
from actors.runs.live import LIVE
from cluster.files import jsonl
from trainers.status import RunStatus

LOOK_S: Final = 1.0
BEAT_S: Final = 5.0
"""A status that does not change is written again so often, which shows that the command is alive."""


class LiveFile:
    """The file of one run. The newest status that it is told is written within LOOK_S, while it is `kept`."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / LIVE
        self._at = RunStatus("starting", 0, 0, {}, (), None)
        self._ended = threading.Event()

    def tell(self, at: RunStatus) -> None:
        """Take note of where the run stands."""
        self._at = at

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write for the length of the block, then remove the file."""
        thread = threading.Thread(target=self._keep, name="live", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _keep(self) -> None:
        written: RunStatus | None = None
        written_at = float("-inf")
        while not self._ended.wait(LOOK_S):
            at, now = self._at, time.monotonic()
            if at != written or now - written_at >= BEAT_S:
                written, written_at = at, now
                self._write(at)
        self._path.unlink(missing_ok=True)

    def _write(self, at: RunStatus) -> None:
        with suppress(OSError):  # a full disk does not stop a run for the sake of its watchers
            replace_text(self._path, jsonl.encode({"time": round(time.time(), 3), **asdict(at)}).decode())
