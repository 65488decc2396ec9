"""Writes rollouts beside the loop: a thread with a short queue, so that neither encoding nor a disk holds up a step.

What cannot be written is lost and told, and the run goes on: a step for which the queue has no place, one that the disk
refuses, and everything after a disk that does not answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from actors.rollouts.store import RolloutStore
from actors.rollouts.table import StepRollouts

WAITING: Final = 2
"""Steps that may wait while one is written: more of them would hold memory that the run needs."""
SETTLE_S: Final = 30.0
"""How long a checkpoint waits for the steps before it to be written."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Rollouts that were not kept: of which step, why, and how many steps in a row that makes."""

    step: int
    cause: str
    in_a_row: int


@dataclass(frozen=True, slots=True)
class _Job:
    step: int
    writes: bool
    act: Callable[[], None]


class RolloutWriter:
    """Offers are taken at once; `settle` waits for them; `lost` says what became of those that could not be kept."""

    def __init__(self, store: RolloutStore, settle_s: float = SETTLE_S) -> None:
        self._store = store
        self._settle_s = settle_s
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._gave_up = False
        self._lost: list[Lost] = []
        self._in_a_row = 0

    def offer(self, step: StepRollouts) -> None:
        """Have a step written, unless nothing is to be kept; never waits."""
        if not self._store.keep:
            return
        with self._changed:
            if self._gave_up:
                self._lose(step.step, f"the disk did not answer for {self._settle_s:g} s")
            elif sum(job.writes for job in self._jobs) > WAITING:
                self._lose(step.step, "the disk is slower than the run")
            else:
                self._take(_Job(step.step, True, partial(self._store.write, step)))

    def rewind(self, step: int) -> None:
        """Forget the steps after `step`, as soon as those that were offered before are written."""
        with self._changed:
            if not self._gave_up:
                self._take(_Job(step, False, partial(self._store.rewind, step)))

    def settle(self) -> None:
        """Wait until all is written or lost. A disk that takes longer than `settle_s` is not asked again."""
        with self._changed:
            if not self._gave_up and not self._changed.wait_for(lambda: not self._jobs, self._settle_s):
                self._gave_up = True

    def lost(self) -> list[Lost]:
        """What was lost since the last call."""
        with self._changed:
            told, self._lost = self._lost, []
        return told

    def close(self) -> None:
        """Settle, and end the thread."""
        self.settle()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, job: _Job) -> None:
        self._jobs.append(job)
        if self._thread is None:  # a daemon: a disk that hangs must not keep the process
            self._thread = threading.Thread(target=self._work, name="rollouts", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            cause = ""
            try:
                job.act()
            except Exception as error:  # whatever it is, the record of a run must not stop it
                cause = f"{type(error).__name__}: {error}"
            with self._changed:
                self._jobs.popleft()
                if cause:
                    self._lose(job.step, cause)
                else:
                    self._in_a_row = 0
                self._changed.notify_all()

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            return self._jobs[0] if self._jobs else None

    def _lose(self, step: int, cause: str) -> None:
        self._in_a_row += 1
        self._lost.append(Lost(step, cause, self._in_a_row))
