"""API keys: made once, kept as salted hashes, compared in constant time. No HTTP and no file access here.

A key file is JSON: `{"keys": [{"name", "scope", "salt", "sha256", "expires"}]}`; `expires` may be absent. Keys are 256
random bits, so one salted SHA-256 is as strong as a slow hash and costs nothing per request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from verifier.errors import UserError

Scope = Literal["read", "probe", "admin"]
RANK: Final[dict[Scope, int]] = {"read": 0, "probe": 1, "admin": 2}
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
MAX_KEY_CHARS: Final = 128  # ours have 46; what anyone sends is hashed once for each record
_PREFIX: Final = "ip_"


class KeyFileError(UserError):
    """The key file is not what it should be; the message says where."""

    fix = "Make the file with `interplay serve --api-key-file FILE --add-key NAME:SCOPE`."


class KeyRecord(BaseModel):
    """One key at rest: who it belongs to, what it may do, and the salted SHA-256 of the key, both in hex.

    `expires` is when it ends, in seconds since 1970; None when it does not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=f"^{NAME.pattern}$")
    scope: Scope
    salt: str = Field(pattern=r"^[0-9a-f]{32}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    expires: int | None = Field(default=None, ge=0)
    weight: int = Field(default=1, ge=1, le=100)  # of the key's share of the places, against the other keys'

    def expired(self, now: float) -> bool:
        """Whether the key has ended at `now`, in seconds since 1970."""
        return self.expires is not None and now >= self.expires

    def matches(self, key: str) -> bool:
        """Whether `key` is this one; takes the same time for every wrong key."""
        return hmac.compare_digest(_digest(self.salt, key), self.sha256)


class KeyFile(BaseModel):
    """All keys of one server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[KeyRecord, ...]


def new_key(name: str, scope: Scope, expires: int | None = None) -> tuple[str, KeyRecord]:
    """A fresh key, to be shown once, and its record."""
    key = _PREFIX + secrets.token_urlsafe(32)
    salt = secrets.token_hex(16)
    return key, KeyRecord(name=name, scope=scope, salt=salt, sha256=_digest(salt, key), expires=expires)


def parse_key_file(text: str) -> tuple[KeyRecord, ...]:
    """The records of a key file. KeyFileError names the first fault; names must be distinct."""
    try:
        keys = KeyFile.model_validate_json(text).keys
    except ValidationError as error:
        first = error.errors()[0]
        raise KeyFileError(f"key file: {'.'.join(map(str, first['loc'])) or 'top level'}: {first['msg']}") from None
    names = [record.name for record in keys]
    if not names or len(set(names)) != len(names):
        raise KeyFileError("key file: it needs at least one key, and every key its own name")
    return keys


def identify(keys: tuple[KeyRecord, ...], key: str) -> KeyRecord | None:
    """The record that `key` belongs to. Every record is tried, so the time does not tell which one matched."""
    if len(key) > MAX_KEY_CHARS:
        return None
    found = [record for record in keys if record.matches(key)]
    return found[0] if found else None


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + key.encode("utf-8", "surrogateescape")).hexdigest()
