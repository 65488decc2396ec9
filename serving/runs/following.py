"""The served runs as they grow: one reading of a run's log for all who ask, at most once a second.

Nobody reads in the background: whoever asks has the log read if the last look is a second old, and all others that ask
meanwhile wait for that look. So 200 watchers of a run cost one `stat` a second, and none cost nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from actors.runs.log import RunGone, RunLog
from serving.http.errors import NotFound, Unavailable
from serving.schemas import MAX_WATCHERS

LOOK_S: Final = 1.0
_ANSWERS_KEPT: Final = 16


class FollowedRun:
    """One run and its log. All work on the log is done in a thread, one piece at a time."""

    def __init__(self, name: str, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.folder = folder
        self._clock = clock
        self._log = RunLog(folder)
        self._looked_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()
        self._answers: OrderedDict[tuple[Any, ...], tuple[int, bytes]] = OrderedDict()

    @asynccontextmanager
    async def log(self) -> AsyncIterator[RunLog]:
        """The log as of a second ago at most; nobody else works on it meanwhile. NotFound when the run has gone."""
        async with self._one_at_a_time:
            if self._clock() - self._looked_at >= LOOK_S:
                try:
                    await run_in_threadpool(self._log.read)
                except RunGone as gone:
                    raise NotFound(f"the run {self.name} has gone: {gone}", code="run_gone") from gone
                self._looked_at = self._clock()
            yield self._log

    async def answer(self, key: tuple[Any, ...], write: Callable[[RunLog], bytes]) -> bytes:
        """What `write` makes of the log, made once for as long as the log does not grow."""
        async with self.log() as log:
            version, written = self._answers.pop(key, (-1, b""))
            if version != log.version:
                version, written = log.version, await run_in_threadpool(write, log)
            self._answers[key] = version, written
            if len(self._answers) > _ANSWERS_KEPT:
                self._answers.popitem(last=False)
            return written


class ServedRuns:
    """The runs of this server by name, and the places of those who watch them."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._runs = {name: FollowedRun(name, folder) for name, folder in folders.items()}
        self._watchers = 0

    def __iter__(self) -> Iterator[FollowedRun]:
        return iter(self._runs.values())

    def find(self, name: str) -> FollowedRun:
        """The run of a name; no path is made from it. NotFound."""
        if name not in self._runs:
            raise NotFound("no such run; GET /v1/runs lists them", param="run", code="run_not_found")
        return self._runs[name]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A place among the watchers. Unavailable when all are taken."""
        if self._watchers >= MAX_WATCHERS:
            raise Unavailable(
                f"{MAX_WATCHERS} clients watch runs here already", code="too_many_watchers", retry_after_s=5
            )
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1
