"""Text to token ids and back, one token at a time: the tokenizer of one checkpoint as the server needs it."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actors.policy.text_format import TextFormat
from actors.policy.tokenizer import token_bytes
from serving.generation.encoder import encoder_of

REPLACEMENT: Final = "\ufffd"


class Codec:
    """Encodes prompts and names each token's bytes. Safe to share; `stop` frees its encoder."""

    def __init__(self, text: TextFormat, max_positions: int) -> None:
        self._text = text
        self._encoder = encoder_of(text.tokenizer.backend_tokenizer)
        self.max_positions = max_positions
        self.stop_token_ids = text.end_ids
        self._bytes = tuple(
            b"" if i in self.stop_token_ids else token_bytes(text.tokenizer, i) for i in range(len(text.tokenizer))
        )

    @property
    def vocabulary(self) -> int:
        """How many token ids there are."""
        return len(self._bytes)

    async def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a prompt, as in training; tags like `<question>` are their single tokens.

        Raises EncodingFailed.
        """
        return self._text.begun(await self._encoder.ids(text))

    async def stop(self) -> None:
        """Free the encoder; the next prompt starts it again."""
        await self._encoder.stop()

    def text_of(self, token_id: int) -> str:
        """One token by itself, as alternatives are shown; bytes that are no UTF-8 alone become U+FFFD."""
        return self.bytes_of(token_id).decode("utf-8", "replace")

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes that a token adds to the text; none for the end of text and for ids outside the vocabulary."""
        return self._bytes[token_id] if token_id < len(self._bytes) else b""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A token's share of the text: the characters [start, end) complete with it."""

    id: int
    text: str
    start: int
    end: int


class Decoder:
    """Turns one completion's ids into text as they arrive; the texts of all tokens join to the whole."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._length = 0

    def push(self, token_ids: Sequence[int]) -> list[Decoded]:
        """The tokens' texts; a character whose bytes are split comes with the token that completes it."""
        return [self._one(token_id) for token_id in token_ids]

    def _one(self, token_id: int) -> Decoded:
        text = self._utf8.decode(self._codec.bytes_of(token_id))
        start = self._length
        self._length += len(text)
        return Decoded(token_id, text, start, self._length)
