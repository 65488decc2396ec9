"""The segments of a stream as ranges, for attention kernels of variable length: no padding and no mask.

Queries stay in stream order. The keys of a completion are its prompt's and its own, one after the other, so that query
`i` of `n` sees all keys but the last `n - 1 - i`: the mask that these kernels call causal, aligned to the end. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.records import Ints, Segments, Stream


@dataclass(frozen=True, slots=True)
class Ranges:
    """S segments in stream order: segment s has the queries [query_starts[s], query_starts[s + 1]) of the stream.

    Its keys are the tokens at the places `keys[key_starts[s] : key_starts[s + 1]]`. Both starts are [S + 1]; the
    longest are the most queries and the most keys of a segment.
    """

    query_starts: Ints
    key_starts: Ints
    keys: Ints
    longest_queries: int
    longest_keys: int


def ranges_of(stream: Stream) -> Ranges:
    """The ranges of a stream, of which each token is in one segment."""
    segments = sorted((each for table in stream.segments for each in _rows(table)), key=lambda each: each[0][0])
    asked = np.asarray([len(queries) for queries, _ in segments])
    seen = np.asarray([len(keys) for _, keys in segments])
    starts = _starts(asked)
    assert starts[-1] == stream.tokens, "every token asks in one segment"
    assert all(queries[0] == start for (queries, _), start in zip(segments, starts, strict=False))
    return Ranges(
        query_starts=starts,
        key_starts=_starts(seen),
        keys=np.concatenate([keys for _, keys in segments]),
        longest_queries=int(asked.max()),
        longest_keys=int(seen.max()),
    )


def _rows(table: Segments) -> list[tuple[Ints, Ints]]:
    """Queries and keys of each segment of a table, without the padding at their ends."""
    return [(q[q >= 0], k[k >= 0]) for q, k in zip(table.queries, table.keys, strict=True)]


def _starts(lengths: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths)])
