"""Problem records as a Parquet file with a fixed schema, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.files import jsonl

ROWS_PER_GROUP = 10_000

_NODE = pa.struct(
    {
        "name": pa.string(),
        "value": pa.int64(),
        "parents": pa.list_(pa.string()),
        "operation": pa.string(),
        "constant": pa.int64(),
        "needed": pa.bool_(),
    }
)
SCHEMA = pa.schema(
    {
        **dict.fromkeys(("pid", "problem", "question", "solution", "answer"), pa.string()),
        "op": pa.int64(),
        **dict.fromkeys(("mode", "template"), pa.string()),
        **dict.fromkeys(("depth", "seed"), pa.int64()),
        "graph": pa.struct({"query": pa.string(), "given": pa.string(), "nodes": pa.list_(_NODE)}),
    }
)


@contextmanager
def writing(path: str) -> Iterator[Callable[[bytes], object]]:
    """A function that takes one JSON line after another; the file is published if the block ends without error.

    Raises:
        UserError: the folder does not exist or cannot be written.
    """
    lines: list[bytes] = []
    with jsonl.replacing(path) as temporary, pq.ParquetWriter(temporary, SCHEMA) as writer:

        def put(line: bytes) -> None:
            lines.append(line)
            if len(lines) == ROWS_PER_GROUP:
                flush()

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist([json.loads(line) for line in lines], SCHEMA))
            lines.clear()

        yield put
        if lines:
            flush()
