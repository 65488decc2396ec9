"""Seeds by derivation: every random draw of a run takes `derive(run_seed, ...)`, never a shared generator."""

from __future__ import annotations

import hashlib


def derive(run_seed: int, *parts: int | str) -> int:
    """A 63-bit seed that is a pure function of the run's seed and of what the draw is for.

    Stable over processes, machines and Python versions (BLAKE2b of the parts' text), unlike `hash`.
    """
    text = "\x1f".join([str(run_seed), *(f"{type(p).__name__}:{p}" for p in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
