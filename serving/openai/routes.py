"""The OpenAI-compatible routes: completions and chat, whole and streamed. `generation.service` samples."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.generation.completion import Piece, Written
from serving.generation.service import Draw, Service, Session
from serving.http.answers import caller_of, documented, json_bytes
from serving.http.sse import DONE, unnamed, unnamed_bytes
from serving.openai.chat import chat_prompt
from serving.openai.frames import OF_CHATS, OF_COMPLETIONS, Frame, written
from serving.openai.schemas import (
    ChatAnswer,
    ChatChoice,
    ChatChunk,
    ChatDelta,
    ChatRequest,
    ChatText,
    CompletionAnswer,
    CompletionChoice,
    CompletionRequest,
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
    def fields(self) -> dict[str, Any]:
        """The fields of an answer or a chunk that say so; `system_fingerprint` stands for the weights."""
        return {
            "id": self.id,
            "created": self.created,
            "model": self.policy.model,
            "system_fingerprint": f"fp_{self.policy.weight_hash[:12]}",
            "policy": self.policy,
        }


def routes(service: Service) -> APIRouter:
    """The two routes over `service`."""
    router = APIRouter(tags=["OpenAI"])

    @router.post("/v1/completions", response_model=CompletionAnswer, responses=documented(stream=True))
    async def complete(request: Request, body: CompletionRequest) -> Response:
        """Continue each prompt `n` times."""
        job = _Completion(service, body, request)
        if body.stream:
            return service.work.stream(job.events(), unnamed)
        return json_bytes(await service.work.whole(request, job.whole()))

    @router.post("/v1/chat/completions", response_model=ChatAnswer, responses=documented(stream=True))
    async def chat(request: Request, body: ChatRequest) -> Response:
        """Answer the problem in the user's message; an assistant message after it is continued."""
        job = _Chat(service, body, request)
        if body.stream:
            return service.work.stream(job.events(), unnamed)
        return json_bytes(await service.work.whole(request, job.whole()))

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

    async def _encoded(self, session: Session) -> list[tuple[int, ...]]:
        return [
            await session.encode(prompt, "prompt") if isinstance(prompt, str) else session.checked(prompt, "prompt")
            for prompt in self._prompts
        ]

    async def whole(self) -> bytes:
        """The answer when all samples are done."""
        async with self._session() as session:
            prompts = await self._encoded(session)
            samples = await session.write_all(prompts, self._body.n)
            head = _head("cmpl", session.policy(self._service.engine))
            usage = _usage(prompts, sum(len(sample.tokens) for sample in samples))
            choices = [await self._written(i, sample, session) for i, sample in enumerate(samples)]
            return Frame.of(self._answer(head, usage)).around(*choices)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The answer as a stream."""
        count = 0
        async with self._session() as session:
            prompts = await self._encoded(session)
            head = _head("cmpl", session.policy(self._service.engine))
            frame = Frame.of(self._answer(head, None))
            async with aclosing(session.stream_all(prompts, self._body.n)) as stream:
                async for index, piece in stream:
                    count += len(piece.tokens)
                    yield unnamed_bytes(frame.around(self._written_piece(index, piece, session)))
            if self._body.stream_options and self._body.stream_options.include_usage:
                yield unnamed(self._answer(head, _usage(prompts, count)))
        yield DONE

    async def _written(self, index: int, sample: Written, session: Session) -> bytes:
        logprobs = None
        if self._body.logprobs is not None:
            codec = session.route.loaded.codec
            logprobs = await OF_COMPLETIONS.in_parts(sample.tokens, codec, self._service.pace)
        return written(self._choice(index, sample), logprobs)

    def _written_piece(self, index: int, piece: Piece, session: Session) -> bytes:
        asked = self._body.logprobs is not None
        logprobs = OF_COMPLETIONS.at_once(piece.tokens, session.route.loaded.codec) if asked else None
        return written(self._choice(index, piece), logprobs)

    def _choice(self, index: int, part: Written | Piece) -> CompletionChoice:
        """A choice without its log-probabilities."""
        return CompletionChoice(
            index=index,
            text=part.text,
            finish_reason=part.finish_reason,
            token_ids=[token.id for token in part.tokens] if self._body.return_token_ids else None,
        )

    def _answer(self, head: Head, usage: Usage | None) -> CompletionAnswer:
        return CompletionAnswer(**head.fields, choices=[], usage=usage)


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

    async def whole(self) -> bytes:
        """The answer when all samples are done."""
        async with self._session() as session:
            prompt_ids = await session.encode(self._prompt, "messages")
            samples = await session.write_all([prompt_ids], self._body.n)
            head = _head("chatcmpl", session.policy(self._service.engine))
            usage = _usage([prompt_ids], sum(len(sample.tokens) for sample in samples))
            choices = [await self._written(i, sample, session) for i, sample in enumerate(samples)]
            return Frame.of(_chat_answer(head, usage)).around(*choices)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The answer as a stream."""
        count = 0
        async with self._session() as session:
            prompt_ids = await session.encode(self._prompt, "messages")
            head = _head("chatcmpl", session.policy(self._service.engine))
            for index in range(self._body.n):
                yield unnamed(_chunk(head, [ChatDelta(index=index, delta=ChatText(content=""))]))
            frame = Frame.of(_chunk(head, []))
            async with aclosing(session.stream_all([prompt_ids], self._body.n)) as stream:
                async for index, piece in stream:
                    count += len(piece.tokens)
                    yield unnamed_bytes(frame.around(self._written_piece(index, piece, session)))
            if self._body.stream_options and self._body.stream_options.include_usage:
                yield unnamed(_chunk(head, [], _usage([prompt_ids], count)))
        yield DONE

    async def _written(self, index: int, sample: Written, session: Session) -> bytes:
        logprobs = None
        if self._body.logprobs:
            logprobs = await OF_CHATS.in_parts(sample.tokens, session.route.loaded.codec, self._service.pace)
        choice = ChatChoice(index=index, message=ChatText(content=sample.text), finish_reason=sample.finish_reason)
        return written(choice, logprobs)

    def _written_piece(self, index: int, piece: Piece, session: Session) -> bytes:
        logprobs = OF_CHATS.at_once(piece.tokens, session.route.loaded.codec) if self._body.logprobs else None
        delta = ChatDelta(index=index, delta=ChatText(role=None, content=piece.text), finish_reason=piece.finish_reason)
        return written(delta, logprobs)


def _chat_answer(head: Head, usage: Usage) -> ChatAnswer:
    return ChatAnswer(**head.fields, choices=[], usage=usage)


def _chunk(head: Head, choices: list[ChatDelta], usage: Usage | None = None) -> ChatChunk:
    return ChatChunk(**head.fields, choices=choices, usage=usage)


def _prompts(body: CompletionRequest) -> list[str] | list[list[int]]:
    """The prompts as a list, whichever of OpenAI's four forms they came in."""
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt[0], int):
        return [cast("list[int]", prompt)]
    return cast("list[str] | list[list[int]]", prompt)
