"""One command at a time works in a run folder: the lock that it holds, and who holds it.

The kernel lets go of the lock with the process, also after `kill -9`; what stays in the file is told apart by its pid.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from verifier.errors import UserError

LOCK_FILE: Final = "lock"


class RunHeld(UserError):
    """Another command works in the run folder."""


@contextmanager
def held(run_dir: Path) -> Generator[None]:
    """The folder (made if missing) is this process's for the length of the block. Raises RunHeld."""
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
        try:
            yield
        finally:
            file.truncate(0)


def holder(run_dir: Path) -> str | None:
    """The command that works in the folder, in words; None if there is none (on this machine: none alive)."""
    try:
        pid, _, host = (run_dir / LOCK_FILE).read_text().partition(" ")
    except FileNotFoundError:
        return None
    if not pid or (host == socket.gethostname() and not psutil.pid_exists(int(pid))):
        return None
    return f"process {pid} on {host}"
