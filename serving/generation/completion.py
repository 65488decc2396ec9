"""One completion as a stream of pieces: engine deltas made into text, cut at stop strings.

Streams come in `pieces`; closing the iterator aborts the request in the engine. A `whole` answer comes from the engine
once, when it is done: to wake the event loop for every token of a tiny model costs as much as to draw it.
"""

from __future__ import annotations

import codecs
import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import cast

from actors.engines.protocol import TokenDelta, TopLogprob
from actors.records import FinishReason, Sampling
from serving.encoding.codec import Codec
from serving.http.metrics import Metrics
from serving.models.cache import Loaded


@dataclass(frozen=True, slots=True)
class Token:
    """A written token: the characters [start, end) that are complete with it, its log-probability, and alternatives."""

    id: int
    text: str
    start: int
    end: int
    logprob: float
    top: tuple[TopLogprob, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """The tokens that are final since the last piece. `finish_reason` is set on the last one."""

    tokens: tuple[Token, ...]
    finish_reason: FinishReason | None = None

    @property
    def text(self) -> str:
        """The text of the tokens."""
        return "".join(token.text for token in self.tokens)


@dataclass(slots=True)
class Written:
    """A completion as it grows; whole once `finish_reason` is set. Times are seconds of the monotonic clock."""

    tokens: list[Token] = field(default_factory=list)
    text: str = ""
    finish_reason: FinishReason | None = None
    first_token_at: float | None = None

    def add(self, piece: Piece) -> None:
        """Append a piece."""
        if self.first_token_at is None and piece.tokens:
            self.first_token_at = time.monotonic()
        self.tokens.extend(piece.tokens)
        self.text += piece.text
        self.finish_reason = piece.finish_reason or self.finish_reason


class StopCutter:
    """Holds tokens back while their text may be the start of a stop string, and cuts where one is complete."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held: list[Token] = []

    def push(self, tokens: Sequence[Token]) -> tuple[list[Token], bool]:
        """The tokens that are final now, and whether a stop string has ended the completion."""
        if not self._stops:
            return list(tokens), False
        self._held.extend(tokens)
        text = "".join(token.text for token in self._held)
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            return self._cut(min(found)), True
        return self._cut(len(text) - self._longest_start(text), keep=True), False

    def flush(self) -> list[Token]:
        """What was held back, when the completion ended otherwise."""
        held, self._held = self._held, []
        return held

    def _longest_start(self, text: str) -> int:
        """How many characters at the end of `text` could begin a stop string."""
        longest = max(len(stop) for stop in self._stops) - 1
        sizes = range(min(longest, len(text)), 0, -1)
        return next((n for n in sizes if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)

    def _cut(self, length: int, keep: bool = False) -> list[Token]:
        """Whole tokens within the first `length` characters; the rest is kept, or dropped after a clipped token."""
        taken: list[Token] = []
        for position, token in enumerate(self._held):
            size = len(token.text)
            if size > length:
                if keep:
                    self._held = self._held[position:]
                elif length:
                    taken.append(_clipped(token, length))
                return taken
            taken.append(token)
            length -= size
        self._held = []
        return taken


def _clipped(token: Token, length: int) -> Token:
    return replace(token, text=token.text[:length], end=token.start + length)


class Decoder:
    """Turns one completion's ids into tokens as they arrive; the texts of all tokens join to the whole."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._length = 0

    def push(self, token_id: int, logprob: float, top: tuple[TopLogprob, ...] = ()) -> Token:
        """The next token; a character whose bytes are split comes with the token that completes it.

        What top-p has ruled out is no alternative: its log-probability is minus infinity, which JSON does not know.
        """
        text = self._utf8.decode(self._codec.bytes_of(token_id))
        start = self._length
        self._length += len(text)
        drawable = tuple(one for one in top if one.logprob > -math.inf)
        return Token(token_id, text, start, self._length, logprob, drawable)


async def pieces(
    loaded: Loaded, prompt_ids: tuple[int, ...], sampling: Sampling, stops: tuple[str, ...], metrics: Metrics
) -> AsyncGenerator[Piece, None]:
    """The completion of `prompt_ids`, piece by piece; the last piece carries the finish reason."""
    decoder, cutter = Decoder(loaded.codec), StopCutter(stops)
    clock = _DeliveryClock(metrics)
    # Every engine's stream is a generator; closing it is how the protocol spells abort.
    stream = cast("AsyncGenerator[TokenDelta, None]", loaded.engine.stream(prompt_ids, sampling))
    async with aclosing(stream) as deltas:
        async for delta in deltas:
            clock.tick(len(delta.token_ids))
            tokens, stopped = cutter.push(_tokens(decoder, delta))
            if stopped:
                yield Piece(tuple(tokens), "stop")
                return
            if delta.finish_reason is not None:
                yield Piece((*tokens, *cutter.flush()), delta.finish_reason)
                return
            if tokens:
                yield Piece(tuple(tokens))


async def whole(
    loaded: Loaded, prompt_ids: tuple[int, ...], sampling: Sampling, stops: tuple[str, ...], metrics: Metrics
) -> Written:
    """The completion of `prompt_ids` once it is done; cancelling the call aborts it.

    Stop strings must be looked for on the way and alternatives come with streams only: those are drawn in pieces.
    """
    if stops or sampling.top_logprobs:
        written = Written()
        async with aclosing(pieces(loaded, prompt_ids, sampling, stops, metrics)) as inner:
            async for piece in inner:
                written.add(piece)
        return written
    done = await loaded.engine.generate(prompt_ids, sampling)
    metrics.tokens.labels(kind="completion").inc(len(done.token_ids))
    decoder = Decoder(loaded.codec)
    tokens = [decoder.push(*drawn) for drawn in zip(done.token_ids, done.logprobs, strict=True)]
    return Written(tokens, "".join(token.text for token in tokens), done.finish_reason)


def _tokens(decoder: Decoder, delta: TokenDelta) -> list[Token]:
    tops = delta.top_logprobs or ((),) * len(delta.token_ids)
    return [decoder.push(*drawn) for drawn in zip(delta.token_ids, delta.logprobs, tops, strict=True)]


class _DeliveryClock:
    """Feeds the two latency histograms."""

    def __init__(self, metrics: Metrics) -> None:
        self._histogram, self._later = metrics.first_token, metrics.inter_token
        self._tokens = metrics.tokens.labels(kind="completion")
        self._last = time.monotonic()

    def tick(self, tokens: int) -> None:
        now = time.monotonic()
        self._histogram.observe(now - self._last)
        self._tokens.inc(tokens)
        self._last, self._histogram = now, self._later
