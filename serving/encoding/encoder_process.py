"""One tokenizer in a process of its own; `serving.encoding.encoder` runs this file by its path and may kill it.

It reads messages from standard input, each a length and that many bytes: first a tokenizer as JSON, then texts in
UTF-8. It answers each on standard output: a count and that many ids (none for the tokenizer). It ends with its input.
Imports nothing of ours.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from typing import BinaryIO, Final

from tokenizers import Tokenizer

LENGTH_BYTES: Final = 4
ID_TYPE: Final = "I"


def length(count: int) -> bytes:
    """A length or a count as it stands before what it counts."""
    return count.to_bytes(LENGTH_BYTES, "little")


def messages(source: BinaryIO) -> Iterator[str]:
    """The texts that arrive until the source ends."""
    while head := source.read(LENGTH_BYTES):
        yield source.read(int.from_bytes(head, "little")).decode()


def main() -> None:
    """Serve one tokenizer until the input ends."""
    texts = messages(sys.stdin.buffer)
    tokenizer = Tokenizer.from_str(next(texts))
    _answer([])
    for text in texts:
        _answer(tokenizer.encode(text, add_special_tokens=False).ids)


def _answer(ids: list[int]) -> None:
    sys.stdout.buffer.write(length(len(ids)) + array(ID_TYPE, ids).tobytes())
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
