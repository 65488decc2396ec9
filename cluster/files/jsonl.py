"""Files of records, one JSON object a line, plain or gzip, or "-" for a pipe: read with line numbers, written whole.

It knows lines and fields, but not what they mean. A file is written under a temporary name in its own folder and
renamed when it is complete, so nobody reads half of it; standard output cannot promise that.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from actors import files
from cluster.errors import FULL
from cluster.signals import sigterm_as_interrupt
from verifier.errors import UserError

PIPE = "-"
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
LONGEST_LINE = 16 << 20
GZIP_LEVEL = 6  # level 9 halves the speed for 2% of the size on problem texts


def read(path: str, fields: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a file, each with its line number (from 1); `fields` must be there and hold text.

    Raises:
        UserError: no such file, damaged gzip, no UTF-8, or a line that is no record with these fields.
    """
    with open_bytes(path) as file:
        yield from records(lines(file, path), path, fields)


def lines(file: IO[bytes], path: str) -> Iterator[bytes]:
    """The lines of an open file, of bounded length: a small gzip file can unpack to one line of gigabytes.

    Raises:
        UserError: a line is longer than LONGEST_LINE.
    """
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise UserError(
                f"{shown(path)}, line {number}: longer than {LONGEST_LINE >> 20} MiB.", "Write one record per line."
            )
        yield line


def rest(file: IO[bytes], path: str) -> bytes:
    """What is left of an open file that is one text, under the same bound. Raises UserError when it is longer."""
    text = file.read(LONGEST_LINE + 1)
    if len(text) > LONGEST_LINE:
        raise UserError(f"{shown(path)}: a text longer than {LONGEST_LINE >> 20} MiB.", "Give one problem at a time.")
    return text


def records(lines: Iterable[bytes], path: str, fields: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Like `read`, for lines of a file that is open already; `path` is for messages."""
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            yield number, _record(line, f"{shown(path)}, line {number}", fields)
    except DAMAGED as error:
        raise UserError(
            f"{shown(path)}, after line {number}: damaged gzip ({error}).", "Get the file again."
        ) from error


@contextmanager
def open_bytes(path: str) -> Iterator[IO[bytes]]:
    """A file or standard input for reading, unpacked if its first bytes are gzip's, whatever its name.

    Raises:
        UserError: the file cannot be opened, or the gzip is damaged where the block reads it.
    """
    with ExitStack() as stack:
        try:
            raw = sys.stdin.buffer if path == PIPE else stack.enter_context(Path(path).open("rb"))
        except OSError as error:
            raise UserError(
                f"cannot open {path} ({error.strerror}).", "Give the path of a file that exists."
            ) from error
        buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # pyright: ignore[reportArgumentType]
        packed = buffered.peek(2)[:2] == b"\x1f\x8b"
        try:
            yield gzip.GzipFile(fileobj=buffered) if packed else buffered  # pyright: ignore[reportReturnType]
        except DAMAGED as error:
            raise UserError(f"{shown(path)}: damaged gzip ({error}).", "Get the file again.") from error


def shown(path: str) -> str:
    """The path as it is written in messages."""
    return "standard input" if path == PIPE else path


def _record(line: bytes, where: str, fields: tuple[str, ...]) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)
        what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"not JSON ({why})"
        raise UserError(f"{where}: {what}.", "Put one JSON object on each line.") from error
    if not isinstance(record, dict):
        raise UserError(f"{where}: not a JSON object but {type(record).__name__}.", "Put one JSON object on each line.")
    for field in fields:
        if not isinstance(record.get(field), str):
            what = f'field "{field}" is {"not text" if field in record else "missing"}'
            raise UserError(f"{where}: {what}.", f"Give each record the text fields {', '.join(fields)}.")
    return record


def encode(record: Mapping[str, Any]) -> bytes:
    """One line. A lone surrogate, which UTF-8 cannot encode, is written as a JSON escape.

    A number that is not finite, which JSON cannot express, becomes null.
    """
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(record), parse_constant=lambda _: None)
        text = json.dumps(finite, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


@contextmanager
def writing(path: str) -> Iterator[Callable[[bytes], object]]:
    """A function that writes bytes to `path`, packed if its name ends in .gz; published if the block ends well.

    If the reader of standard output closes it, the program ends without a message.

    Raises:
        UserError: the folder does not exist or cannot be written.
    """
    if path == PIPE:
        with _quiet_pipe():
            yield sys.stdout.buffer.write
            sys.stdout.buffer.flush()
        return
    with replacing(path) as temporary, temporary.open("wb") as file:
        if path.endswith(".gz"):
            # No name and no time in the header: the same records give the same bytes.
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
                yield packed.write
        else:
            yield file.write


@contextmanager
def replacing(path: str) -> Iterator[Path]:
    """A temporary path beside `path`: renamed to it if the block ends without error, removed otherwise.

    For a device or a named pipe, which cannot be replaced, `path` itself is yielded.

    Raises:
        UserError: `path` is a folder, its folder does not exist or cannot be written, or the disk is full.
    """
    require_writable(path)
    if Path(path).exists() and not Path(path).is_file():
        yield Path(path)
        return
    target = Path(os.path.realpath(path))  # replace the file that a link points to, not the link
    try:
        with sigterm_as_interrupt(), files.replacing(target) as temporary:
            yield temporary
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(f"cannot write {path} ({error.strerror}).", "Make room, or name another disk.") from error


def require_writable(path: str) -> None:
    """Raises UserError if `path` is a folder, or its folder does not exist or cannot be written."""
    if os.path.isdir(Path(path)):
        raise UserError(f"{path} is a folder.", "Name a file.")
    device = os.path.exists(path) and not os.path.isfile(path)
    if not device and not os.access(os.path.dirname(os.path.realpath(path)), os.W_OK):
        raise UserError(f"cannot write {path}.", "Name a file in a folder that exists and can be written.")


@contextmanager
def _quiet_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # The reader is gone; without this the interpreter would report it again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
