# pyright: strict
"""`solve` and `continue`: what is asked, the events of the streams, and the finished trace."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from serving.probe.bodies.judgements import JudgementBody, StepBody
from serving.probe.bodies.problems import About
from serving.schemas import (
    DEFAULT_MAX_TOKENS,
    MAX_LOGPROBS,
    Answer,
    ErrorBody,
    MaxTokens,
    ModelId,
    Policy,
    PromptText,
    Seed,
    Stops,
    Temperature,
    TopP,
    UserTag,
)


class SolveRequest(About):
    """`POST /v1/probe/solve`: one model, one problem, one trace. `logprobs` adds that many alternatives per
    token, or as many as `top_p` leaves.
    """

    model: ModelId
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    seed: Seed | None = None
    stop: Stops | None = None
    logprobs: Annotated[StrictInt, Field(ge=0, le=MAX_LOGPROBS)] = 0
    stream: StrictBool = True
    user: UserTag | None = None


class ContinueRequest(SolveRequest):
    """`POST /v1/probe/continue`: as solve, after `prefix`, a trace up to where the model goes on (edited or not).

    A final full stop of `prefix` is left to the policy, whose tokens carry it together with what follows.
    """

    prefix: PromptText


class Alternative(Answer):
    """A token that the policy weighed at one place."""

    id: int
    text: str
    logprob: float


class TokenBody(Answer):
    """One written token. `StartEvent.prefix` and the texts of all tokens join to the answer's text."""

    index: int
    id: int
    text: str
    start: int
    end: int
    logprob: float
    top: list[Alternative]


class StartEvent(Answer):
    """Event `start`, first and once. `prefix` is the trace that was given (empty for solve)."""

    request_id: str
    policy: Policy
    problem_id: str
    prompt: str
    prefix: str
    prompt_tokens: int


class TokenEvent(Answer):
    """Event `token`: the tokens that have arrived since the last one, oldest first."""

    tokens: list[TokenBody]


class StepEvent(StepBody):
    """Event `step`: sent as soon as a step is complete, never taken back; `done` repeats all of them.

    `logprobs` are those of the tokens [token_start, token_end); both are empty for a step inside `prefix`.
    """

    token_start: int
    token_end: int
    logprobs: list[float]


class Timing(Answer):
    """Milliseconds from the arrival of the request."""

    first_token_ms: float | None
    total_ms: float


class SolveAnswer(Answer):
    """Event `done`, last; also the whole answer of `stream: false`. Steps and judgement are those of the full text.

    `recovered` is for continue: whether the answer came out right although `prefix` holds a wrong step (else null).
    """

    policy: Policy
    problem_id: str
    text: str
    tokens: list[TokenBody]
    steps: list[StepEvent]
    judgement: JudgementBody
    rewards: dict[str, float]
    finish_reason: Literal["stop", "length", "abort"]
    prompt_tokens: int
    completion_tokens: int
    recovered: bool | None
    timing: Timing


class ErrorEvent(Answer):
    """Event `error`: as the body of a failed request; the stream ends after it, without `[DONE]`."""

    error: ErrorBody
