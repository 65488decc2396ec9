"""The tokenizer of one checkpoint as the server needs it: prompts to token ids, and the bytes of each token."""

from __future__ import annotations

from actors.policy.text_format import TextFormat
from actors.policy.tokenizer import token_bytes
from serving.encoding.encoder import encoder_of
from verifier.task import Prompt


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

    async def encode(self, prompt: Prompt) -> tuple[int, ...]:
        """The ids of a prompt, as in training; tags like `<question>` are their single tokens.

        Raises EncodingFailed, and ModelRefused for messages that the model has no chat template for.
        """
        if not isinstance(prompt, str):
            return await self._encoder.ids(self._text.rendered(prompt))
        return self._text.begun(await self._encoder.ids(prompt))

    async def stop(self) -> None:
        """Free the encoder; the next prompt starts it again."""
        await self._encoder.stop()

    def text_of(self, token_id: int) -> str:
        """One token by itself, as alternatives are shown; bytes that are no UTF-8 alone become U+FFFD."""
        return self.bytes_of(token_id).decode("utf-8", "replace")

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes that a token adds to the text; none for the end of text and for ids outside the vocabulary."""
        return self._bytes[token_id] if token_id < len(self._bytes) else b""
