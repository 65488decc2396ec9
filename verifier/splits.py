"""Which split an item belongs to, from a hash of what is asked: the same question is in the same split everywhere."""

from __future__ import annotations

import hashlib

from verifier.task import Split

# Of 1000 hash classes: 50 are test, 50 validation, the others train.
_TEST, _VALIDATION = 50, 100


def split_of_hash(digest: str) -> Split:
    """The split of a hexadecimal digest: 90% train, 5% validation, 5% test."""
    place = int(digest[:12], 16) % 1000
    if place < _TEST:
        return "test"
    return "validation" if place < _VALIDATION else "train"


def digest_of(*parts: str) -> str:
    """A digest of texts in 32 hexadecimal digits, the same in every process."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()
