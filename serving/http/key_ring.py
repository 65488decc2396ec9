"""The keys that a running server knows: those of its start, or of a file that it reads again when it has changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from serving.http.keys import KeyFileError, KeyRecord, identify, parse_key_file

logger = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 1.0
MAX_FILE_BYTES: Final = 1 << 20


class KeyRing:
    """Finds the record of a key. It checks the file with one `stat` a second and reads it when it has changed."""

    def __init__(
        self,
        keys: tuple[KeyRecord, ...],
        file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._file = file
        self._clock = clock
        self._today = today
        self._seen: tuple[int, int, int, int] | None = None
        self._looked = float("-inf")

    def find(self, key: str) -> KeyRecord | None:
        """The record that `key` belongs to, if it has not expired and is still in the file."""
        self._look()
        record = identify(self._keys, key)
        return None if record is None or record.expired(self._today()) else record

    def _look(self) -> None:
        now = self._clock()
        if self._file is None or now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        try:
            status = self._file.stat()
            seen = status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size
            if seen == self._seen:
                return
            if status.st_size > MAX_FILE_BYTES:
                raise KeyFileError(f"key file: more than {MAX_FILE_BYTES} bytes")
            self._keys = parse_key_file(self._file.read_text(encoding="utf-8"))
            self._seen = seen  # only now: a file that could not be read is tried again at the next look
        except (OSError, ValueError) as error:
            # A file that is being edited must not lock everybody out meanwhile.
            logger.warning("key_file_not_read", extra={"reason": str(error), "known": len(self._keys)})
