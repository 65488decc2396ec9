"""A small file that several processes and threads may change: one writer at a time, readers see the old or the new.

Beside `NAME` lies `.NAME.lock`, which writers hold (flock, so that the death of one lets go). The file is
replaced by `actors.files`. Knows nothing of what the file means.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from actors.files import replace_text

LOCK_TIMEOUT_S: Final = 5.0


def rewrite(path: Path, new_text: Callable[[], str], mode: int) -> None:
    """Replace the file by `new_text()`, called when no other writer is at work. Waits; call it in a thread.

    A link is followed: the file that it names is replaced, not the link. Raises OSError, also when another writer does
    not end within five seconds; what `new_text` raises passes through, and nothing is written then.
    """
    path = Path(os.path.realpath(path))
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    with _locked(path.with_name(f".{path.name}.lock")):
        replace_text(path, new_text(), mode)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while not _lock_now(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another writer does not end")
            time.sleep(0.002)
        yield
    finally:
        os.close(descriptor)


def _lock_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
