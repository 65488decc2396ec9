"""The served runs as they grow: one reading of a run's log for all who ask, at most once a second.

Nobody reads in the background: whoever asks has the log read if the last look is a second old, and all others that ask
meanwhile wait for that look. So 200 watchers of a run cost one `stat` a second, and none cost nothing.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from actors.runs.log import RunGone, RunLog
from serving.desk import Desk
from serving.http.admission import Caller, Gate
from serving.http.errors import NotFound, Unavailable
from serving.schemas import MAX_WATCHERS

T = TypeVar("T")

LOOK_S: Final = 1.0
_ANSWERS_KEPT: Final = 16


class FollowedRun:
    """One run and its log. All work on the log is done at `desk`, which has no other: in a thread, one at a time."""

    def __init__(self, name: str, folder: Path, desk: Desk, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.folder = folder
        self._desk = desk
        self._clock = clock
        self._log = RunLog(folder)
        self._looked_at = float("-inf")
        self._answers: OrderedDict[tuple[Any, ...], tuple[int, bytes]] = OrderedDict()

    async def ask(self, caller: Caller, work: Callable[[RunLog], T]) -> T:
        """What `work` makes of the log as of a second ago at most.

        NotFound when the run has gone or its log cannot be read, Unavailable when the server drains or too many wait.
        """
        return await self._desk.begin(caller, self._done, work)

    async def follow(self, caller: Caller, seen: int, work: Callable[[RunLog], T]) -> T | None:
        """The same for a watcher, who is never refused; None if the log is known to stand at the version `seen`."""
        if self._log.version == seen and self._is_fresh:
            return None
        return await self._desk.go_on(caller, self._done, work)

    async def answer(self, caller: Caller, key: tuple[Any, ...], write: Callable[[RunLog], bytes]) -> bytes:
        """What `write` makes of the log, made once for as long as the log does not grow. Raises as `ask`."""

        def written(log: RunLog) -> bytes:
            version, answer = self._answers.pop(key, (-1, b""))
            if version != log.version:
                version, answer = log.version, write(log)
            self._answers[key] = version, answer
            if len(self._answers) > _ANSWERS_KEPT:
                self._answers.popitem(last=False)
            return answer

        return await self.ask(caller, written)

    @property
    def _is_fresh(self) -> bool:
        return self._clock() - self._looked_at < LOOK_S

    def _done(self, work: Callable[[RunLog], T]) -> T:
        if not self._is_fresh:
            try:
                self._log.read()
            except RunGone as gone:
                raise NotFound(f"the run {self.name} has gone: {gone}", code="run_gone") from gone
            except OSError as error:
                said = f"the log of the run {self.name} cannot be read: {error.strerror}"
                raise NotFound(said, code="log_not_read") from error
            self._looked_at = self._clock()
        return work(self._log)


@dataclass(eq=False, slots=True)
class Place:
    """A watcher's place; `lost` once it was given to another key."""

    key: str
    lost: bool = False

    def require(self) -> None:
        """Unavailable when the place is lost."""
        if self.lost:
            raise _no_place()


class ServedRuns:
    """The runs of this server by name, and the places of those who watch them."""

    def __init__(self, folders: Mapping[str, Path], engines: Gate) -> None:
        self._runs = {name: FollowedRun(name, folder, Desk(engines)) for name, folder in folders.items()}
        self._places: dict[Place, None] = {}  # newest last

    def __iter__(self) -> Iterator[FollowedRun]:
        return iter(self._runs.values())

    def find(self, name: str) -> FollowedRun:
        """The run of a name; no path is made from it. NotFound."""
        if name not in self._runs:
            raise NotFound("no such run; GET /v1/runs lists them", param="run", code="run_not_found")
        return self._runs[name]

    @contextmanager
    def watching(self, key: str) -> Iterator[Place]:
        """A place among the watchers. When all are taken, the newest watcher of the key with most loses its own.

        Unavailable when that is this one.
        """
        if len(self._places) >= MAX_WATCHERS:
            self._take_from_most(key)
        place = Place(key)
        self._places[place] = None
        try:
            yield place
        finally:
            self._places.pop(place, None)

    def _take_from_most(self, key: str) -> None:
        held = Counter(place.key for place in self._places)
        held[key] += 1
        most = max(held, key=lambda one: (held[one], one == key))
        if most == key:
            raise _no_place()
        newest = next(place for place in reversed(self._places) if place.key == most)
        newest.lost = True
        del self._places[newest]


def _no_place() -> Unavailable:
    return Unavailable(
        f"{MAX_WATCHERS} clients watch runs here, and no other key has more than yours",
        code="too_many_watchers",
        retry_after_s=5,
    )
