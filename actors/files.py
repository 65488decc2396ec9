"""Writing files so that a reader finds the old content or the new, whole, whenever the writer or the machine stops.

The one place where a file is replaced; `actors.policy.checkpoint` takes the same steps for checkpoints, which are
directories. It knows nothing of what is written.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SHARED: Final = 0o666
"""What an ordinary new file gets, less the umask."""
PRIVATE: Final = 0o600
"""Read and written by its owner alone."""


@contextmanager
def replacing(path: Path, mode: int = SHARED) -> Iterator[Path]:
    """An empty file beside `path` to write into; on leaving without error it is synced and takes the place of `path`.

    After an error it is removed and `path` is as it was. Raises OSError where the folder or the disk cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        yield temporary
        sync(temporary)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def replace_text(path: Path, text: str, mode: int = SHARED) -> None:
    """Replace the content of `path`. Raises OSError."""
    with replacing(path, mode) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
