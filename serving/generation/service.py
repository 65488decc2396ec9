"""What every generating route does: find the model, wait for a place, check the request against it, draw tokens.

The routes (`openai`, `probe`) say what to ask and how to show it; this module has the order of the steps and the record
of the policy that answered. No HTTP here.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from actors.engines.protocol import EngineDead, EngineTimeout, RequestRefused
from actors.policy.architecture import ModelRefused
from actors.records import Sampling
from serving.encoding.encoder import EncodingFailed
from serving.generation.completion import Piece, Written, pieces, whole
from serving.generation.pace import Pace
from serving.http.admission import Budget, Caller, Gate, Ticket
from serving.http.errors import BadRequest, TooLarge, Unavailable
from serving.http.metrics import Metrics
from serving.http.sse import Work
from serving.models.cache import Loaded
from serving.models.router import Route, Router
from serving.models.traffic_split import Canary
from serving.schemas import MAX_ALTERNATIVES, MAX_SEED, MAX_TOTAL_TOKENS, Policy, SamplingUsed
from verifier.judgement import Judgement, TraceJudgement
from verifier.seeds import derive
from verifier.task import Prompt

T = TypeVar("T")
_PIECES_AHEAD = 1024  # of a stream of several samples, before its reader has them


@dataclass(frozen=True, slots=True)
class Draw:
    """The sampling that a request asks for. With `seed` None the server chooses one and names it in the answer."""

    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """A model held for one request, and the seed from which its samples' seeds derive."""

    route: Route
    draw: Draw
    seed: int
    metrics: Metrics
    ticket: Ticket
    blind: bool  # no caller could choose or see the side of the canary before the answer was done

    async def encode(self, prompt: Prompt, param: str) -> tuple[int, ...]:
        """A prompt's ids, as in training; BadRequest when it cannot be encoded."""
        try:
            ids = await self.route.loaded.codec.encode(prompt)
        except EncodingFailed as error:
            raise BadRequest(f"{param} {error}", param=param, code="not_encoded") from error
        except ModelRefused as error:
            raise BadRequest(str(error), param=param) from error
        return self.checked(ids, param)

    def checked(self, prompt_ids: Sequence[int], param: str) -> tuple[int, ...]:
        """The ids, if the model knows them and has room for at least one more."""
        codec = self.route.loaded.codec
        if not prompt_ids:
            raise BadRequest(f"{param} is empty: it needs at least one token", param=param)
        if max(prompt_ids) >= codec.vocabulary:
            raise BadRequest(f"{param} holds a token id outside 0..{codec.vocabulary - 1}", param=param)
        if len(prompt_ids) >= codec.max_positions:
            raise TooLarge(
                f"{param} has {len(prompt_ids)} tokens; with at least one to write, this model has room for "
                f"{codec.max_positions - 1}",
                param=param,
                code="context_length_exceeded",
            )
        self.metrics.tokens.labels(kind="prompt").inc(len(prompt_ids))
        return tuple(prompt_ids)

    async def pieces(self, prompt_ids: tuple[int, ...], *sample: int) -> AsyncGenerator[Piece, None]:
        """One sample as it is drawn. `sample` are the indices that set it apart from others of the request."""
        loaded = self.route.loaded
        stream = pieces(loaded, prompt_ids, self._sampling(prompt_ids, sample), self.draw.stop, self.metrics)
        async with self.ticket.place(), aclosing(stream) as inner:
            with _engine_errors(loaded):
                async for piece in inner:
                    yield piece

    async def write(self, prompt_ids: tuple[int, ...], *sample: int) -> Written:
        """One sample once it is done."""
        loaded = self.route.loaded
        async with self.ticket.place():
            with _engine_errors(loaded):
                return await whole(loaded, prompt_ids, self._sampling(prompt_ids, sample), self.draw.stop, self.metrics)

    async def write_all(self, prompts: Sequence[tuple[int, ...]], n: int) -> list[Written]:
        """`n` samples of each prompt, once all are done."""
        asks = [partial(self.write, ids, place, i) for place, ids in enumerate(prompts) for i in range(n)]
        return await together(asks, self.ticket.places)

    def stream_all(self, prompts: Sequence[tuple[int, ...]], n: int) -> AsyncGenerator[tuple[int, Piece], None]:
        """The same samples as they are drawn: each piece with the number of its sample."""
        streams = [self.pieces(ids, place, i) for place, ids in enumerate(prompts) for i in range(n)]
        return merged(streams, self.ticket.places)

    def _sampling(self, prompt_ids: tuple[int, ...], sample: tuple[int, ...]) -> Sampling:
        draw, codec = self.draw, self.route.loaded.codec
        return Sampling(
            max_tokens=min(draw.max_tokens, codec.max_positions - len(prompt_ids)),
            temperature=draw.temperature,
            top_p=draw.top_p,
            seed=derive(self.seed, *sample),
            stop_token_ids=codec.stop_token_ids,
            top_logprobs=draw.top_logprobs,
        )

    def reseeded(self, seed: int) -> Session:
        """The same model and sampling from another seed."""
        return replace(self, seed=seed)

    def policy(self, engine: str) -> Policy:
        """Who answers."""
        manifest = self.route.resolved.entry.manifest
        draw = self.draw
        return Policy(
            model=self.route.resolved.entry.id,
            requested=self.route.resolved.requested,
            checkpoint=manifest.id,
            stage=manifest.stage,
            step=manifest.step,
            weight_hash=manifest.weight_hash,
            tokenizer_hash=manifest.tokenizer_hash,
            engine=engine,
            seed=self.seed,
            sampling=SamplingUsed(
                temperature=draw.temperature, top_p=draw.top_p, max_tokens=draw.max_tokens, stop=list(draw.stop)
            ),
        )


class Service:
    """The server without HTTP."""

    def __init__(
        self, router: Router, gate: Gate, tokens: Budget, canary: Canary, metrics: Metrics, deadline_s: float
    ) -> None:
        self.router = router
        self.tokens = tokens
        self.gate = gate
        self.canary = canary
        self.metrics = metrics
        self.work = Work(metrics, deadline_s)
        self.pace = Pace()

    @property
    def engine(self) -> str:
        """The engine's name and version."""
        return self.router.pool.factory.name

    @property
    def ready(self) -> bool:
        """Whether at least one model answers and the server is not draining."""
        return bool(self.router.pool.loaded) and not self.gate.closed

    def prepare(self) -> None:
        """Start to load the model that most requests name; one of another run while the first has none."""
        aliases = self.router.registry.aliases()
        name = next((alias for alias in ("latest", *aliases) if alias in aliases), None)
        if name is not None:
            self.router.prepare(name)

    @asynccontextmanager
    async def session(
        self, model: str, caller: Caller, draw: Draw, *, sequences: int = 1, problems: int = 1, streamed: bool = False
    ) -> AsyncIterator[Session]:
        """Hold a first place, then the model: a refusal must not wait for a load.

        The key pays at once for all tokens that `sequences` of each of `problems` may draw.
        """
        require_size(sequences, draw)
        await self.router.registry.refresh()
        self.router.registry.find(model)
        self.tokens.take(caller.key, sequences * problems * draw.max_tokens)
        seed = draw.seed if draw.seed is not None else secrets.randbelow(MAX_SEED)
        arrived = time.monotonic()
        async with self.gate.enter(caller, draw.max_tokens) as ticket:
            self.metrics.queue_wait.observe(time.monotonic() - arrived)
            async with self.router.lease(model, _side_of(caller)) as route:
                yield Session(route, draw, seed, self.metrics, ticket, blind=caller.user is None and not streamed)

    async def judged(self, session: Session, judgement: Judgement) -> None:
        """Count a judgement; the canary gets those on answers whose side no caller could choose."""
        kind = "verified" if judgement.solved else "answer_only" if judgement.right else "wrong"
        self.metrics.judgements.labels(judgement=kind).inc()
        if session.blind:
            share = judgement.process_accuracy if isinstance(judgement, TraceJudgement) else judgement.score
            await self.canary.observe(session.route.resolved, share)

    async def drain(self, grace_s: float) -> None:
        """Refuse new requests, let open ones finish for `grace_s`, then end the rest with an error."""
        if not await self.gate.drain(grace_s):
            self.work.fail_all(Unavailable("the server is shutting down", code="draining", retry_after_s=5))
            await self.gate.drain(2.0)

    async def stop(self) -> None:
        """Stop the engines."""
        await self.router.stop()


def require_size(sequences: int, draw: Draw) -> None:
    """BadRequest when so many samples have more tokens, or alternatives to tokens, than one answer may hold."""
    samples, tokens = f"{sequences} samples of up to {draw.max_tokens} tokens", sequences * draw.max_tokens
    if tokens > MAX_TOTAL_TOKENS:
        raise BadRequest(f"{samples} exceed the {MAX_TOTAL_TOKENS} of one request", param="max_tokens")
    if tokens * draw.top_logprobs > MAX_ALTERNATIVES:
        raise BadRequest(
            f"{samples} with {draw.top_logprobs} alternatives each exceed the {MAX_ALTERNATIVES} of one request",
            param="max_tokens",
        )


def _side_of(caller: Caller) -> str:
    """What decides a canary's side: the user that a request names, or else chance, which no caller can foresee."""
    return secrets.token_hex(8) if caller.user is None else f"{caller.key}\0{caller.user}"


async def together(asks: Sequence[Callable[[], Coroutine[Any, Any, T]]], at_once: int) -> list[T]:
    """All results in order, with so many asked at a time; the first failure ends the others."""
    if len(asks) == 1:
        return [await asks[0]()]
    left, results = iter(enumerate(asks)), dict[int, T]()

    async def one_after_another() -> None:
        for number, ask in left:
            results[number] = await ask()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(asks))):
                group.create_task(one_after_another())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [results[number] for number in range(len(asks))]


async def as_done(asks: Iterable[Coroutine[Any, Any, T]]) -> AsyncGenerator[T, None]:
    """Every result as it comes. Closing it, or a failure, ends those that are not done."""
    tasks = [asyncio.create_task(ask) for ask in asks]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def merged(
    streams: Sequence[AsyncGenerator[Piece, None]], at_once: int
) -> AsyncGenerator[tuple[int, Piece], None]:
    """Pieces of several samples as they come, each with its sample's number, from so many streams at a time.

    Closing it, or a failure, ends them all.
    """
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for piece in only:
                yield 0, piece
        return
    queue: asyncio.Queue[tuple[int, Piece] | Exception | None] = asyncio.Queue(_PIECES_AHEAD)
    left = iter(enumerate(streams))
    tasks = [asyncio.create_task(_feed(left, queue)) for _ in range(min(at_once, len(streams)))]
    feeding = len(tasks)
    try:
        while feeding:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                feeding -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(
    left: Iterator[tuple[int, AsyncGenerator[Piece, None]]],
    queue: asyncio.Queue[tuple[int, Piece] | Exception | None],
) -> None:
    """One stream after another into the queue, then None; or what went wrong, whatever it is."""
    try:
        for number, stream in left:
            async with aclosing(stream) as inner:
                async for piece in inner:
                    await queue.put((number, piece))
    except Exception as error:
        await queue.put(error)
    else:
        await queue.put(None)


@contextmanager
def _engine_errors(loaded: Loaded) -> Iterator[None]:
    """The engine's errors in the server's terms; an engine that failed is not used again."""
    try:
        yield
    except RequestRefused as error:
        raise BadRequest(str(error)) from error
    except (EngineDead, EngineTimeout) as error:
        loaded.failed = True
        raise Unavailable("the engine failed and is being replaced", code="engine_failed", retry_after_s=5) from error
