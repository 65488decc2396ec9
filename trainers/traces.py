"""The user's own traces to train on: a JSONL(.gz) or Parquet file with a prompt and its completion in each row.

A row has `prompt` (text) or `messages` (each with role and content), and `completion`: the text that should follow,
separators included. Other fields are ignored. This module only reads; `trainers.pretrain.documents` uses the rows.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import Field

from verifier.answers.rows import Asked, numbered_rows


class Trace(Asked):
    """One row of the file."""

    completion: str = Field(min_length=1)


@lru_cache(maxsize=4)
def read_traces(file: Path) -> tuple[tuple[int, Trace], ...]:
    """The rows, each with its line's number. Raises BadTask with the line and the field at fault."""
    return tuple(numbered_rows(Trace, file))
