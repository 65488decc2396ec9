"""The lock of a run folder, in which one command at a time works, which command holds it, and whether it is stopping.

The kernel releases the lock when the process ends, also after `kill -9`; the pid in the file tells whether it is alive.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from actors.runs.live import STOPPING
from verifier.errors import UserError

LOCK_FILE: Final = "lock"
CLOCK_GRAIN_S: Final = 1.0


class Holder(NamedTuple):
    """A command that works in a run folder."""

    pid: int
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return self.host == socket.gethostname()


class RunHeld(UserError):
    """Another command works in the run folder."""


@contextmanager
def held(run_dir: Path) -> Generator[None]:
    """Hold the lock of the folder (made if missing) for the length of the block. Raises RunHeld."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunHeld(
                f"another command works in {run_dir} ({holder(run_dir) or 'it has just started'}).",
                "Wait for it or stop it, or name another --run-dir.",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()} {socket.gethostname()}")
        file.flush()
        (run_dir / STOPPING).unlink(missing_ok=True)  # of a command that was killed
        try:
            yield
        finally:
            (run_dir / STOPPING).unlink(missing_ok=True)
            file.truncate(0)


def note_stop(run_dir: Path) -> bool:
    """Note that the command in the folder is asked to save and end. False if it has been asked before."""
    try:
        (run_dir / STOPPING).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def holder(run_dir: Path) -> Holder | None:
    """The command that works in the folder; None if there is none (on this machine: none that is alive)."""
    try:
        pid, _, host = (run_dir / LOCK_FILE).read_text().partition(" ")
        written = (run_dir / LOCK_FILE).stat().st_mtime
    except FileNotFoundError:
        return None
    found = Holder(int(pid), host) if pid else None
    return None if found and found.is_here and not _wrote(found.pid, written) else found


def _wrote(pid: int, at: float) -> bool:
    """Whether the process that wrote at that time is alive: a later process may have the pid of a dead one."""
    try:
        return psutil.Process(pid).create_time() <= at + CLOCK_GRAIN_S
    except psutil.NoSuchProcess:
        return False
