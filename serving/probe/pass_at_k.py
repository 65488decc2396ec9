"""pass@k while it is measured: samples judged as they end, estimates with intervals, outcome beside strict.

For several problems the interval is a bootstrap over problems; for one it is Wilson's interval of the share of right
samples, carried over to pass@k (which grows with that share).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.desk import Clerk
from serving.generation.service import Draw, Service, Session, as_done
from serving.http.admission import Caller
from serving.http.answers import caller_of, documented, json_answer
from serving.http.sse import named
from serving.http.telling import as_events, error_event, last
from serving.probe.bodies.pass_at_k import (
    Estimate,
    EstimateEvent,
    PassAtKAnswer,
    PassAtKRequest,
    PassStart,
    SampleEvent,
)
from serving.probe.posed import Posed, ProblemBank
from serving.probe.traces import timing
from serving.schemas import MAX_SEED
from verifier.estimators import bootstrap_interval, pass_at_k, wilson
from verifier.judgement import TraceJudgement
from verifier.seeds import derive

_ESTIMATES: Final = 64  # of one run: a bootstrap over 64 problems takes 0.1 s per k, too much to do after each of 4,096
_NAMES = {
    PassStart: named("start"),
    SampleEvent: named("sample"),
    EstimateEvent: named("estimate"),
    PassAtKAnswer: named("done"),
}
_Event = PassStart | SampleEvent | EstimateEvent | PassAtKAnswer


def routes(service: Service, bank: ProblemBank) -> APIRouter:
    """The route over `service` and `bank`."""
    router = APIRouter(tags=["Probe"])

    @router.post("/v1/probe/pass-at-k", response_model=PassAtKAnswer, responses=documented(stream=True))
    async def measure(request: Request, body: PassAtKRequest) -> Response:
        """Estimate pass@k, by the answer alone and by the verified trace, with narrowing intervals."""
        run = _measure(service, bank, request, body)
        if body.stream:
            return service.work.stream(as_events(run, _NAMES), error_event)
        return json_answer(await service.work.whole(request, last(run, PassAtKAnswer)))

    return router


@dataclass(slots=True)
class Tally:
    """Judged samples of each problem: how many, how many right by answer, how many verified."""

    counts: list[int] = field(default_factory=list)
    outcome: list[int] = field(default_factory=list)
    strict: list[int] = field(default_factory=list)
    judges_steps: bool = True

    @classmethod
    def of(cls, problems: int) -> Tally:
        """An empty tally."""
        return cls([0] * problems, [0] * problems, [0] * problems)

    def add(self, sample: SampleEvent) -> None:
        """Count a sample."""
        self.counts[sample.problem] += 1
        self.outcome[sample.problem] += sample.outcome
        self.strict[sample.problem] += bool(sample.verified)
        self.judges_steps = sample.verified is not None

    @property
    def total(self) -> int:
        """Samples judged so far."""
        return sum(self.counts)

    def estimates(self, right: list[int], ks: tuple[int, ...]) -> list[Estimate]:
        """pass@k for every k that each sampled problem has enough samples for."""
        pairs = [(n, c) for n, c in zip(self.counts, right, strict=True) if n]
        fewest = min(n for n, _ in pairs)
        return [_estimate(pairs, k) for k in sorted(set(ks)) if k <= fewest]

    def event(self, ks: tuple[int, ...]) -> EstimateEvent:
        """Both readings now."""
        strict = self.estimates(self.strict, ks) if self.judges_steps else []
        return EstimateEvent(n=self.total, outcome=self.estimates(self.outcome, ks), strict=strict)


def _estimate(pairs: list[tuple[int, int]], k: int) -> Estimate:
    values = [pass_at_k(n, c, k) for n, c in pairs]
    if len(pairs) > 1:
        interval = bootstrap_interval([values], seed=0)
        return Estimate(k=k, mean=interval.mean, lo=interval.lo, hi=interval.hi)
    low, high = wilson(*pairs[0])
    return Estimate(k=k, mean=values[0], lo=1 - (1 - low) ** k, hi=1 - (1 - high) ** k)


def _narrow(event: EstimateEvent, width: float | None, samples: int) -> bool:
    """Whether the widest interval at the largest k is narrow enough; half the samples must be there."""
    if width is None or event.n * 2 < samples or not event.outcome:
        return False
    return max(found[-1].hi - found[-1].lo for found in (event.outcome, event.strict) if found) <= width


async def _posed_all(bank: ProblemBank, body: PassAtKRequest, caller: Caller) -> list[Posed]:
    """The problems, each a piece of its own."""
    return [await bank.find(_ahead(body, i), caller, let_in=i > 0) for i in range(body.problems)]


def _ahead(body: PassAtKRequest, problems: int) -> PassAtKRequest:
    """The same request so many seeds on."""
    name, seeded = ("problem", body.problem) if body.problem is not None else ("item", body.item)
    if seeded is None or not problems:
        return body
    return body.model_copy(update={name: seeded.model_copy(update={"seed": seeded.seed + problems})})


async def _measure(
    service: Service, bank: ProblemBank, request: Request, body: PassAtKRequest
) -> AsyncGenerator[_Event, None]:
    """One measurement: what happens, in order. The samples of one problem are drawn together."""
    arrived = time.monotonic()
    caller = caller_of(request, None)
    clerk = bank.clerk(caller)
    problems = await _posed_all(bank, body, caller)
    seed = body.seed if body.seed is not None else secrets.randbelow(MAX_SEED)
    draw = Draw(body.max_tokens, body.temperature, body.top_p, seed)
    tally, wanted, early = Tally.of(len(problems)), len(problems) * body.samples, False
    asked = service.session(
        body.model,
        caller,
        draw,
        sequences=body.samples,
        problems=len(problems),
        streamed=body.stream,
    )
    async with asked as session:
        policy = session.policy(service.engine)
        yield PassStart(
            request_id=request.state.request_id, policy=policy, problems=len(problems), samples=body.samples
        )
        async with aclosing(_samples(service, clerk, session, problems, body.samples)) as samples:
            async for sample in samples:
                tally.add(sample)
                yield sample
                if tally.total % max(1, wanted // _ESTIMATES):
                    continue
                estimate = await clerk.do(tally.event, body.ks)
                yield estimate
                if _narrow(estimate, body.stop_width, wanted) and tally.total < wanted:
                    early = True
                    break
        final = await clerk.do(tally.event, body.ks)
        yield PassAtKAnswer(
            policy=policy,
            n=tally.total,
            stopped_early=early,
            outcome=final.outcome,
            strict=final.strict,
            timing=timing(arrived, None),
        )


async def _samples(
    service: Service, clerk: Clerk, session: Session, problems: list[Posed], samples: int
) -> AsyncGenerator[SampleEvent, None]:
    """Every sample as it ends, problem by problem. Closing it ends those that are being drawn."""
    for place, problem in enumerate(problems):
        prompt_ids = await session.encode(problem.prompt, "problem")
        drawn = (_sample(service, clerk, session, problem, prompt_ids, place, i) for i in range(samples))
        async with aclosing(as_done(drawn)) as done:
            async for sample in done:
                yield sample


async def _sample(
    service: Service,
    clerk: Clerk,
    session: Session,
    problem: Posed,
    prompt_ids: tuple[int, ...],
    place: int,
    index: int,
) -> SampleEvent:
    seed = derive(session.seed, place, index) % (MAX_SEED + 1)
    written = await session.reseeded(seed).write(prompt_ids, 0, 0)
    judgement = await problem.judge(written.text, clerk)
    steps = judgement if isinstance(judgement, TraceJudgement) else None
    await service.judged(session, judgement)
    return SampleEvent(
        problem=place,
        sample=index,
        seed=seed,
        outcome=judgement.right,
        verified=steps and steps.verified,
        process_accuracy=steps and steps.process_accuracy,
        answer=judgement.answer,
        text=written.text,
    )
