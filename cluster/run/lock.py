"""The lock of a run folder, in which one command at a time works, which command holds it, and whether it is stopping.

The kernel releases the lock when the process ends, also after `kill -9`; the pid in the file, with the time when that
process began, tells whether it is alive.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple

from actors.runs.live import STOPPING
from cluster.errors import RunFolderError
from verifier.errors import UserError

LOCK_FILE: Final = "lock"
LOOK_S: Final = 1.0
"""Time between two looks at a lock that is waited for."""


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
def held(run_dir: Path, wait: bool = False) -> Generator[None]:
    """Hold the lock of the folder (made if missing) for the length of the block.

    Raises RunHeld if another command holds it, unless `wait`; RunFolderError if the folder cannot be made or written.
    """
    with _opened(run_dir) as file:
        while not _locked(file):
            if not wait:
                raise RunHeld(
                    f"another command works in {run_dir} ({holder(run_dir) or 'it has just started'}).",
                    "Wait for it or stop it, or name another folder.",
                )
            time.sleep(LOOK_S)
        file.truncate(0)
        file.write(f"{os.getpid()} {socket.gethostname()} {_began(os.getpid())}")
        file.flush()
        (run_dir / STOPPING).unlink(missing_ok=True)  # of a command that was killed
        try:
            yield
        finally:
            (run_dir / STOPPING).unlink(missing_ok=True)
            file.truncate(0)


def _opened(run_dir: Path) -> IO[str]:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        return (run_dir / LOCK_FILE).open("a")
    except OSError as error:
        raise _unusable(run_dir, error) from error


def _unusable(run_dir: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"{run_dir} cannot be used as a folder ({error.strerror}).", "Name a folder that can be made and written."
    )


def _locked(file: IO[str]) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def note_stop(run_dir: Path) -> bool:
    """Note that the command in the folder is asked to save and end. False if it has been asked before."""
    try:
        (run_dir / STOPPING).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def stop_was_asked(run_dir: Path) -> bool:
    """Whether the command in the folder was asked to save and end."""
    return (run_dir / STOPPING).exists()


def holder(run_dir: Path) -> Holder | None:
    """The command that works in the folder; None if there is none (on this machine: none that is alive).

    Raises RunFolderError for what is no folder or cannot be read.
    """
    try:
        words = (run_dir / LOCK_FILE).read_text().split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(run_dir, error) from error
    if not words:
        return None
    pid, host, *began = words  # an older version did not write when it began
    found, now = Holder(int(pid), host), _began(int(pid))
    ended = now is None or began not in ([], [now])  # a later process may have the pid of a dead one
    return None if found.is_here and ended else found


def _began(pid: int) -> str | None:
    """When a process began, in ticks since the machine did, which no clock that is set moves; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields.rpartition(b")")[2].split()[19].decode()  # the name in brackets may hold blanks
