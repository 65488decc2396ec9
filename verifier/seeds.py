"""Seeds by derivation: every random draw takes a seed made from what the draw is for, never a shared generator.

Two hashes, because recorded results depend on both: `derive` names a draw by words and numbers, `mix` by numbers alone.
"""

from __future__ import annotations

import hashlib

Index = int | tuple[int, ...]
"""Where an item stands: its number in a stream, or the slot of a training step that asks for it."""

_MASK = (1 << 64) - 1
_ITEM = 2  # tells the draw of a numbered item from other draws with the same numbers


def derive(run_seed: int, *parts: int | str) -> int:
    """A 63-bit seed that is a pure function of the run's seed and of what the draw is for.

    Stable over processes, machines and Python versions (BLAKE2b of the parts' text), unlike `hash`.
    """
    text = "\x1f".join([str(run_seed), *(f"{type(p).__name__}:{p}" for p in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def mix(*parts: int) -> int:
    """A 63-bit number from integers: independent-looking for any change in any part (splitmix64 finaliser)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def item_seed(seed: int, index: Index, attempt: int = 0) -> int:
    """The seed of the `attempt`-th try at drawing the item at `index` of the stream `seed`."""
    if isinstance(index, int):
        return mix(seed, index, _ITEM, attempt)
    return derive(seed, "problem", *index, attempt)
