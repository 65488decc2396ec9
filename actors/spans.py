"""Which tokens a stretch of text belongs to: one rule for credits in training and for steps in HTTP answers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def tokens_of(start: int, end: int, token_ends: Sequence[int]) -> tuple[int, int]:
    """The tokens [first, last) of the characters [start, end); `token_ends` says where each token's text ends.

    A token belongs to the stretch that holds its last character, since a token may begin with the space or the full
    stop between two steps. So no token belongs to two steps, and a stretch in which no token ends has none.
    """
    return bisect_left(token_ends, start + 1), bisect_left(token_ends, end + 1)
