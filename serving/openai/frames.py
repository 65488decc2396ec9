"""Answers as bytes: a frame that the parts of one answer share, and choices that are written into it.

Every chunk of a stream repeats who answered, so that is written down once. Log-probabilities with alternatives are most
of a large answer: they are written down in parts (`serving.generation.pace`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from serving.encoding.codec import Codec
from serving.generation.completion import Token
from serving.generation.pace import Pace
from serving.openai.schemas import (
    ChatAnswer,
    ChatChoice,
    ChatChunk,
    ChatDelta,
    ChatToken,
    CompletionAnswer,
    CompletionChoice,
    CompletionLogprobs,
    TopToken,
)

_COLUMNS: Final[Mapping[str, TypeAdapter[Any]]] = {
    "tokens": TypeAdapter(list[str]),
    "token_logprobs": TypeAdapter(list[float]),
    "top_logprobs": TypeAdapter(list[dict[str, float]]),
    "text_offset": TypeAdapter(list[int]),
}
_CHAT_TOKENS: Final = TypeAdapter(list[ChatToken])


@dataclass(frozen=True, slots=True)
class Frame:
    """An answer's bytes before and after its choices."""

    before: bytes
    after: bytes

    @classmethod
    def of(cls, empty: CompletionAnswer | ChatAnswer | ChatChunk) -> Frame:
        """The frame of an answer without choices."""
        before, _, after = empty.model_dump_json().encode().partition(b'"choices":[]')
        return cls(before + b'"choices":[', b"]" + after)

    def around(self, *choices: bytes) -> bytes:
        """The whole answer."""
        return b"".join((self.before, b",".join(choices), self.after))


def written(choice: CompletionChoice | ChatChoice | ChatDelta, logprobs: bytes | None) -> bytes:
    """A choice, with its block of log-probabilities if it has one."""
    body = choice.model_dump_json().encode()
    if logprobs is None:
        return body
    # The quotes of a text that says the same are escaped.
    return body.replace(b'"logprobs":null', b'"logprobs":' + logprobs, 1)


@dataclass(frozen=True, slots=True)
class Logprobs:
    """One of OpenAI's two blocks of log-probabilities: its lists by name, written down without their brackets."""

    names: tuple[str, ...]
    lists: Callable[[Sequence[Token], Codec], list[bytes]]

    def at_once(self, tokens: Sequence[Token], codec: Codec) -> bytes:
        """The block of a few tokens."""
        return self._block([self.lists(tokens, codec)])

    async def in_parts(self, tokens: Sequence[Token], codec: Codec, pace: Pace) -> bytes:
        """The block of any number of tokens."""
        values = 1 + len(tokens[0].top) if tokens else 1
        return self._block([self.lists(part, codec) async for part in pace.parts(tokens, values)])

    def _block(self, parts: Sequence[list[bytes]]) -> bytes:
        columns = zip(*parts, strict=True) if parts else ((b"",) for _ in self.names)
        lists = (b'"%b":[%b]' % (n.encode(), b",".join(c)) for n, c in zip(self.names, columns, strict=True))
        return b"{%b}" % b",".join(lists)


def _older_lists(tokens: Sequence[Token], codec: Codec) -> list[bytes]:
    block = CompletionLogprobs(
        tokens=[token.text for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[{codec.text_of(t.token_id): t.logprob for t in token.top} for token in tokens],
        text_offset=[token.start for token in tokens],
    )
    return [adapter.dump_json(getattr(block, name))[1:-1] for name, adapter in _COLUMNS.items()]


def _chat_list(tokens: Sequence[Token], codec: Codec) -> list[bytes]:
    return [_CHAT_TOKENS.dump_json([_chat_token(token, codec) for token in tokens])[1:-1]]


def _chat_token(token: Token, codec: Codec) -> ChatToken:
    return ChatToken(
        token=token.text,
        logprob=token.logprob,
        bytes=list(codec.bytes_of(token.id)),
        top_logprobs=[
            TopToken(token=codec.text_of(t.token_id), logprob=t.logprob, bytes=list(codec.bytes_of(t.token_id)))
            for t in token.top
        ],
    )


OF_COMPLETIONS: Final = Logprobs(tuple(_COLUMNS), _older_lists)
OF_CHATS: Final = Logprobs(("content",), _chat_list)
