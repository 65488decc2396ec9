"""A trace while it is written: its steps judged one by one, and the whole as an answer.

Joins `generation` (tokens) and the verifier (judgements of text). No sampling and no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from actors.spans import tokens_of
from serving.desk import Clerk
from serving.encoding.codec import Codec
from serving.generation.completion import Token, Written
from serving.generation.pace import Pace
from serving.http.errors import BadRequest
from serving.probe.bodies.solve import Alternative, SolveAnswer, StepEvent, Timing, TokenBody
from serving.probe.judgements import judgement_body, rewards, step_body, steps_of
from serving.probe.posed import Posed
from serving.schemas import Policy
from verifier.judgement import Judgement, StepJudgement, StepStatus
from verifier.task import Prompt

_STEP_MARK: Final = "efine "  # every step begins with "Define NAME as"
_END_MARK: Final = "</solution>"
_TOKENS: Final = TypeAdapter(list[TokenBody])


@dataclass(frozen=True, slots=True)
class FinishedTrace:
    """A whole answer whose `tokens` are apart: most of a large one, they are written down in parts (`Pace`)."""

    answer: SolveAnswer
    token_ids: Sequence[int]
    tokens: bytes

    @property
    def body(self) -> bytes:
        """The answer with its tokens, as JSON."""
        before, _, after = self.answer.model_dump_json().encode().partition(b'"tokens":[]')
        return b"".join((before, b'"tokens":[', self.tokens, b"]", after))


def settled(prefix: str) -> str:
    """A given beginning of a trace as the policy can go on from it: without trailing blanks and its last full stop."""
    prefix = prefix.rstrip()
    return prefix[:-1] if prefix.endswith(".") else prefix


def prompt_with(prompt: Prompt, prefix: str) -> Prompt:
    """The prompt and a settled prefix as one text. BadRequest for a prefix of a prompt in chat."""
    if not prefix:
        return prompt
    if not isinstance(prompt, str):
        raise BadRequest("an item that is asked in chat cannot be continued: use solve", param="prefix")
    return prompt + prefix if prefix.startswith(" ") else f"{prompt} {prefix}"


class JudgedTrace:
    """What one policy has written on one problem after `prefix`, and how its steps stand.

    A step is complete when the next one begins or the solution ends; only complete ones are handed out. `clerk` judges:
    to judge a long text on the event loop, again for each of its steps, would hold up all other requests.
    """

    def __init__(self, problem: Posed, prefix: str, codec: Codec, clerk: Clerk) -> None:
        self.problem = problem
        self.prefix = prefix
        self.written = Written()
        self._codec = codec
        self._clerk = clerk
        self._ends: list[int] = []  # of the tokens
        self._marks = 0
        self._sent = 0

    @property
    def text(self) -> str:
        """The whole trace so far."""
        return self.prefix + self.written.text

    async def new_steps(self) -> list[StepEvent]:
        """The steps that have become complete since the last call."""
        text = self.text
        ended = self.written.finish_reason is not None or _END_MARK in text
        marks = text.count(_STEP_MARK) + ended
        if marks == self._marks:
            return []
        self._marks = marks
        stated = await self.problem.stated(text, self._clerk)
        complete = stated if ended else stated[:-1]
        fresh = [self.step_event(i, complete[i]) for i in range(self._sent, len(complete))]
        self._sent = max(self._sent, len(complete))
        return fresh

    def step_event(self, index: int, step: StepJudgement) -> StepEvent:
        """A step with its tokens."""
        offset = len(self.prefix)
        tokens = self.written.tokens
        self._ends += [token.end for token in tokens[len(self._ends) :]]
        first, last = tokens_of(step.start - offset, step.end - offset, self._ends)
        return StepEvent(
            **dict(step_body(index, step)),
            token_start=first,
            token_end=last,
            logprobs=[token.logprob for token in tokens[first:last]],
        )

    def token_bodies(self, tokens: Sequence[Token], first_index: int) -> list[TokenBody]:
        """Tokens on the wire; `first_index` is the place of the first among all that were written."""
        return [self._token_body(first_index + i, token) for i, token in enumerate(tokens)]

    def _token_body(self, index: int, token: Token) -> TokenBody:
        offset = len(self.prefix)
        return TokenBody(
            index=index,
            id=token.id,
            text=token.text,
            start=offset + token.start,
            end=offset + token.end,
            logprob=token.logprob,
            top=[
                Alternative(id=t.token_id, text=self._codec.text_of(t.token_id), logprob=t.logprob) for t in token.top
            ],
        )

    async def judgement(self) -> Judgement:
        """The judgement of the whole trace."""
        return await self.problem.judge(self.text, self._clerk)

    async def answer(
        self, judgement: Judgement, policy: Policy, prompt_tokens: int, arrived: float, pace: Pace
    ) -> FinishedTrace:
        """The finished trace as an answer. `arrived` is when the request came, on the monotonic clock."""
        written = self.written
        parts: list[bytes] = []
        first = 0
        values = 1 + len(written.tokens[0].top) if written.tokens else 1
        async for part in pace.parts(written.tokens, values):
            parts.append(_TOKENS.dump_json(self.token_bodies(part, first))[1:-1])
            first += len(part)
        assert written.finish_reason is not None
        wrong_before = await self._began_wrong()
        answer = SolveAnswer(
            policy=policy,
            problem_id=self.problem.id,
            text=self.text,
            tokens=[],
            steps=[self.step_event(i, step) for i, step in enumerate(steps_of(judgement))],
            judgement=judgement_body(judgement),
            rewards=rewards(judgement),
            finish_reason=written.finish_reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=len(written.tokens),
            recovered=judgement.right if wrong_before else None,
            timing=timing(arrived, written.first_token_at),
        )
        return FinishedTrace(answer, [token.id for token in written.tokens], b",".join(parts))

    async def _began_wrong(self) -> bool:
        """Whether a step of the prefix is wrong."""
        given = await self.problem.stated(self.prefix, self._clerk) if self.prefix else []
        return any(step.status is not StepStatus.RIGHT for step in given)


def timing(arrived: float, first_token_at: float | None) -> Timing:
    """Milliseconds since `arrived`, a time of the monotonic clock."""
    first = None if first_token_at is None else round((first_token_at - arrived) * 1000, 2)
    return Timing(first_token_ms=first, total_ms=round((time.monotonic() - arrived) * 1000, 2))
