"""Commands on the key file of `interplay serve`: add, list, revoke. `serving.http.keys` defines what a key is."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from serving.http.keys import NAME, RANK, KeyFile, KeyRecord, Scope, new_key, parse_key_file
from serving.shared_file import rewrite
from verifier.errors import UserError

_DAY_S: Final = 86_400
_LONGEST_DAYS: Final = 3650
_FORMAT: Final = (
    "Write NAME:read|probe|admin, followed by :DAYS for a key that expires; a name is up to 64 of A-Za-z0-9._-"
)


class KeyCommandError(UserError):
    """The key file, or the description of a new key, is wrong."""


def handle(key_file: Path | None, added: str | None, revoked: str | None) -> str:
    """What `--add-key`, `--revoke-key` or, without either, `--list-keys` prints."""
    if key_file is None:
        raise KeyCommandError("there is no key file.", "Add --api-key-file FILE.")
    if added is not None and revoked is not None:
        raise KeyCommandError(
            "one command adds a key or revokes one, not both.", "Add the new key, then revoke the old."
        )
    if added is not None:
        return add_key(key_file, added)
    if revoked is not None:
        revoke_key(key_file, revoked)
        return f"{revoked} is revoked in {key_file}"
    return list_keys(key_file)


def add_key(key_file: Path, request: str) -> str:
    """Add `NAME:SCOPE` or `NAME:SCOPE:DAYS` to the file (made if absent, for its owner only) and return the new key."""
    name, scope, expires = _parsed(request)
    key, record = new_key(name, scope, expires)

    def add(present: tuple[KeyRecord, ...]) -> tuple[KeyRecord, ...]:
        if any(known.name == name for known in present):
            raise KeyCommandError(
                f"{key_file} has a key named {name} already.", "Choose another name, or revoke it first."
            )
        return (*present, record)

    _change(key_file, add)
    return key


def revoke_key(key_file: Path, name: str) -> None:
    """Remove a key from the file. A running server refuses it within two seconds."""

    def remove(present: tuple[KeyRecord, ...]) -> tuple[KeyRecord, ...]:
        left = tuple(record for record in present if record.name != name)
        if len(left) == len(present):
            raise KeyCommandError(f"{key_file} has no key named {name!r}.", "See --list-keys.")
        if not left:
            raise KeyCommandError(
                f"{name} is the last key of {key_file}.",
                "Add another first; or stop the server and delete the file (a running server keeps the keys it knows).",
            )
        return left

    _change(key_file, remove)


def list_keys(key_file: Path) -> str:
    """One line for each key: its name, its scope, and when it expires."""
    lines = [f"{record.name:<20} {record.scope:<6} {_ending(record)}" for record in read_keys(key_file)]
    return "\n".join(lines)


def read_keys(key_file: Path) -> tuple[KeyRecord, ...]:
    """The records of the file. Raises a UserError that says what is wrong with it."""
    try:
        return parse_key_file(key_file.read_text(encoding="utf-8"))
    except OSError as error:
        raise KeyCommandError(
            f"cannot read {key_file}: {error.strerror}.", "Make it with --add-key NAME:SCOPE."
        ) from error
    except UnicodeDecodeError as error:
        raise KeyCommandError(f"{key_file} is not a text file.", "Make one with --add-key NAME:SCOPE.") from error


def _change(key_file: Path, change: Callable[[tuple[KeyRecord, ...]], tuple[KeyRecord, ...]]) -> None:
    def text() -> str:
        present = read_keys(key_file) if key_file.exists() else ()
        return KeyFile(keys=change(present)).model_dump_json(indent=1, exclude_none=True) + "\n"

    try:
        rewrite(key_file, text, mode=0o600)
    except OSError as error:
        raise KeyCommandError(
            f"cannot write {key_file}: {error.strerror}.", "Name a file in a folder of your own."
        ) from error


def _parsed(request: str) -> tuple[str, Scope, int | None]:
    name, _, rest = request.partition(":")
    scope, _, days = rest.partition(":")
    in_range = days.isdecimal() and len(days) <= 4 and 1 <= int(days) <= _LONGEST_DAYS
    if not NAME.fullmatch(name) or scope not in RANK or not (in_range or rest == scope):
        raise KeyCommandError(f"cannot add a key {request!r}.", f"{_FORMAT}. DAYS is 1 to {_LONGEST_DAYS}.")
    return name, scope, int(time.time()) + int(days) * _DAY_S if days else None


def _ending(record: KeyRecord) -> str:
    if record.expires is None:
        return "does not expire"
    day = datetime.fromtimestamp(record.expires, UTC).strftime("%Y-%m-%d")
    return f"expired {day}" if record.expired(time.time()) else f"until {day}"
