"""The OpenAI-compatible routes: completions and chat, whole and streamed. `generation.service` samples."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from actors.records import FinishReason
from serving.encoding.codec import Codec
from serving.generation.completion import Piece, Token, Written
from serving.generation.service import Draw, Service, Session, merged, together
from serving.http.answers import caller_of, documented, json_answer
from serving.http.sse import DONE, unnamed
from serving.openai.chat import chat_prompt
from serving.openai.schemas import (
    ChatAnswer,
    ChatChoice,
    ChatChunk,
    ChatDelta,
    ChatLogprobs,
    ChatRequest,
    ChatText,
    ChatToken,
    CompletionAnswer,
    CompletionChoice,
    CompletionLogprobs,
    CompletionRequest,
    TopToken,
    Usage,
)
from serving.schemas import DEFAULT_MAX_TOKENS, Policy, stop_strings


@dataclass(frozen=True, slots=True)
class Head:
    """What all parts of one answer share. `created` is in Unix seconds."""

    id: str
    created: int
    policy: Policy

    @property
    def fingerprint(self) -> str:
        """OpenAI's `system_fingerprint`: the weights, shortly."""
        return f"fp_{self.policy.weight_hash[:12]}"


def routes(service: Service) -> APIRouter:
    """The two routes over `service`."""
    router = APIRouter(tags=["OpenAI"])

    @router.post("/v1/completions", response_model=CompletionAnswer, responses=documented(stream=True))
    async def complete(request: Request, body: CompletionRequest) -> Response:
        """Continue each prompt `n` times."""
        job = _Completion(service, body, request)
        if body.stream:
            return service.work.stream(job.events(), unnamed)
        return json_answer(await service.work.whole(request, job.whole()))

    @router.post("/v1/chat/completions", response_model=ChatAnswer, responses=documented(stream=True))
    async def chat(request: Request, body: ChatRequest) -> Response:
        """Answer the problem in the user's message; an assistant message after it is continued."""
        job = _Chat(service, body, request)
        if body.stream:
            return service.work.stream(job.events(), unnamed)
        return json_answer(await service.work.whole(request, job.whole()))

    return router


def _head(kind: str, policy: Policy) -> Head:
    """A head with an id of its own: a client may send the same request id again."""
    return Head(f"{kind}-{secrets.token_hex(12)}", int(time.time()), policy)


def _usage(prompts: Sequence[tuple[int, ...]], completion_tokens: int) -> Usage:
    prompt_tokens = sum(map(len, prompts))
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
    )


class _Completion:
    """One request to /v1/completions. Choice i is sample i % n of prompt i // n."""

    def __init__(self, service: Service, body: CompletionRequest, request: Request) -> None:
        self._service = service
        self._body = body
        self._request = request
        self._prompts = _prompts(body)
        self._draw = Draw(
            body.max_tokens, body.temperature, body.top_p, body.seed, stop_strings(body.stop), body.logprobs or 0
        )

    def _session(self):
        caller = caller_of(self._request, self._body.user)
        return self._service.session(
            self._body.model,
            caller,
            self._draw,
            sequences=len(self._prompts) * self._body.n,
            streamed=self._body.stream,
        )

    def _streams(self, session: Session, prompts: list[tuple[int, ...]]) -> list[AsyncGenerator[Piece, None]]:
        return [session.pieces(ids, place, n) for place, ids in enumerate(prompts) for n in range(self._body.n)]

    async def _encoded(self, session: Session) -> list[tuple[int, ...]]:
        return [
            await session.encode(prompt, "prompt") if isinstance(prompt, str) else session.checked(prompt, "prompt")
            for prompt in self._prompts
        ]

    async def whole(self) -> CompletionAnswer:
        """The answer when all samples are done."""
        async with self._session() as session:
            prompts = await self._encoded(session)
            places = [(ids, place, n) for place, ids in enumerate(prompts) for n in range(self._body.n)]
            written = await together(session.write(*place) for place in places)
            head = _head("cmpl", session.policy(self._service.engine))
            choices = [self._choice(i, w.tokens, w.finish_reason, session) for i, w in enumerate(written)]
            usage = _usage(prompts, sum(len(w.tokens) for w in written))
            return self._answer(head, choices, usage)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The answer as a stream."""
        count = 0
        async with self._session() as session:
            prompts = await self._encoded(session)
            head = _head("cmpl", session.policy(self._service.engine))
            async with aclosing(merged(self._streams(session, prompts))) as stream:
                async for index, piece in stream:
                    count += len(piece.tokens)
                    choice = self._choice(index, piece.tokens, piece.finish_reason, session)
                    yield unnamed(self._answer(head, [choice], None))
            if self._body.stream_options and self._body.stream_options.include_usage:
                yield unnamed(self._answer(head, [], _usage(prompts, count)))
        yield DONE

    def _choice(
        self, index: int, tokens: Sequence[Token], finish: FinishReason | None, session: Session
    ) -> CompletionChoice:
        body = self._body
        return CompletionChoice(
            index=index,
            text="".join(token.text for token in tokens),
            logprobs=None if body.logprobs is None else _legacy_logprobs(tokens, session.route.loaded.codec),
            finish_reason=finish,
            token_ids=[token.id for token in tokens] if body.return_token_ids else None,
        )

    def _answer(self, head: Head, choices: list[CompletionChoice], usage: Usage | None) -> CompletionAnswer:
        return CompletionAnswer(
            id=head.id,
            created=head.created,
            model=head.policy.model,
            choices=choices,
            usage=usage,
            system_fingerprint=head.fingerprint,
            policy=head.policy,
        )


class _Chat:
    """One request to /v1/chat/completions."""

    def __init__(self, service: Service, body: ChatRequest, request: Request) -> None:
        self._service = service
        self._body = body
        self._request = request
        self._prompt = chat_prompt(body)
        max_tokens = body.max_completion_tokens or body.max_tokens or DEFAULT_MAX_TOKENS
        self._draw = Draw(
            max_tokens, body.temperature, body.top_p, body.seed, stop_strings(body.stop), body.top_logprobs or 0
        )

    def _session(self):
        caller = caller_of(self._request, self._body.user)
        return self._service.session(
            self._body.model, caller, self._draw, sequences=self._body.n, streamed=self._body.stream
        )

    def _streams(self, session: Session, prompt_ids: tuple[int, ...]) -> list[AsyncGenerator[Piece, None]]:
        return [session.pieces(prompt_ids, 0, n) for n in range(self._body.n)]

    async def whole(self) -> ChatAnswer:
        """The answer when all samples are done."""
        async with self._session() as session:
            prompt_ids = await session.encode(self._prompt, "messages")
            written = await together(session.write(prompt_ids, 0, n) for n in range(self._body.n))
            head = _head("chatcmpl", session.policy(self._service.engine))
            return ChatAnswer(
                id=head.id,
                created=head.created,
                model=head.policy.model,
                choices=[self._choice(i, w, session) for i, w in enumerate(written)],
                usage=_usage([prompt_ids], sum(len(w.tokens) for w in written)),
                system_fingerprint=head.fingerprint,
                policy=head.policy,
            )

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The answer as a stream."""
        count = 0
        async with self._session() as session:
            prompt_ids = await session.encode(self._prompt, "messages")
            head = _head("chatcmpl", session.policy(self._service.engine))
            for index in range(self._body.n):
                yield unnamed(_chunk(head, [ChatDelta(index=index, delta=ChatText(content=""))]))
            async with aclosing(merged(self._streams(session, prompt_ids))) as stream:
                async for index, piece in stream:
                    count += len(piece.tokens)
                    yield unnamed(_chunk(head, [self._delta(index, piece, session)]))
            if self._body.stream_options and self._body.stream_options.include_usage:
                yield unnamed(_chunk(head, [], _usage([prompt_ids], count)))
        yield DONE

    def _delta(self, index: int, piece: Piece, session: Session) -> ChatDelta:
        return ChatDelta(
            index=index,
            delta=ChatText(role=None, content=piece.text),
            logprobs=self._logprobs(piece.tokens, session),
            finish_reason=piece.finish_reason,
        )

    def _choice(self, index: int, written: Written, session: Session) -> ChatChoice:
        return ChatChoice(
            index=index,
            message=ChatText(content=written.text),
            logprobs=self._logprobs(written.tokens, session),
            finish_reason=written.finish_reason,
        )

    def _logprobs(self, tokens: Sequence[Token], session: Session) -> ChatLogprobs | None:
        if not self._body.logprobs:
            return None
        codec = session.route.loaded.codec
        return ChatLogprobs(content=[_chat_token(token, codec) for token in tokens])


def _chunk(head: Head, choices: list[ChatDelta], usage: Usage | None = None) -> ChatChunk:
    return ChatChunk(
        id=head.id,
        created=head.created,
        model=head.policy.model,
        choices=choices,
        usage=usage,
        system_fingerprint=head.fingerprint,
        policy=head.policy,
    )


def _prompts(body: CompletionRequest) -> list[str] | list[list[int]]:
    """The prompts as a list, whichever of OpenAI's four forms they came in."""
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt[0], int):
        return [cast("list[int]", prompt)]
    return cast("list[str] | list[list[int]]", prompt)


def _legacy_logprobs(tokens: Sequence[Token], codec: Codec) -> CompletionLogprobs:
    return CompletionLogprobs(
        tokens=[token.text for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[{codec.text_of(t.token_id): t.logprob for t in token.top} for token in tokens],
        text_offset=[token.start for token in tokens],
    )


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
