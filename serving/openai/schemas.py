# pyright: strict
"""The OpenAI-compatible bodies: completions and chat, whole and streamed. No behaviour beyond validation.

The subset that makes sense for these policies; fields outside it are refused by name. Every answer and every chunk
carries `policy` beside OpenAI's own fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Discriminator, Field, StrictBool, StrictInt, Tag, field_validator, model_validator

from serving.schemas import (
    DEFAULT_MAX_TOKENS,
    MAX_LOGPROBS,
    MAX_N,
    MAX_PROMPTS,
    Answer,
    MaxTokens,
    ModelId,
    Policy,
    PromptText,
    Request,
    Seed,
    Stops,
    Temperature,
    TokenIds,
    TopP,
    UserTag,
)


def _form_of(prompt: object) -> str:
    """Which of OpenAI's four forms a prompt has, by its first element."""
    if not isinstance(prompt, list):
        return "one-text"
    first = cast("object", prompt[0]) if prompt else None
    return "many-ids" if isinstance(first, list) else "many-texts" if isinstance(first, str) else "one-ids"


Prompt = Annotated[
    Annotated[PromptText, Tag("one-text")]
    | Annotated[TokenIds, Tag("one-ids")]
    | Annotated[list[PromptText], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True), Tag("many-texts")]
    | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True), Tag("many-ids")],
    Discriminator(_form_of),
]


class StreamOptions(Request):
    """OpenAI's `stream_options`."""

    include_usage: StrictBool = False


def _with_nulls(schema: dict[str, Any]) -> None:
    """Describe every field that need not be given as one that may be null."""
    for name, field in schema["properties"].items():
        if name not in schema["required"] and "anyOf" not in field:
            about = {key: field.pop(key) for key in ("title", "default")}
            schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **about}


class OpenAIRequest(Request):
    """Base of the two bodies. A field that is null has its default, as OpenAI's own types allow."""

    model_config = ConfigDict(json_schema_extra=_with_nulls)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        given = cast("dict[str, object]", body)
        return {name: value for name, value in given.items() if value is not None or name not in optional}


class CompletionRequest(OpenAIRequest):
    """`POST /v1/completions`. `user` changes nothing in the answer; it keeps one user on one side of a canary."""

    model: ModelId
    prompt: Prompt
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    n: Annotated[StrictInt, Field(ge=1, le=MAX_N)] = 1
    seed: Seed | None = None
    stop: Stops | None = None
    logprobs: Annotated[StrictInt, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: Literal[False] = False
    stream: StrictBool = False
    stream_options: StreamOptions | None = None
    return_token_ids: StrictBool = False
    user: UserTag | None = None


class ChatMessage(Request):
    """One message. The policies know no system text: a problem in `user`, the trace so far in `assistant`."""

    role: Literal["user", "assistant"]
    content: PromptText

    @field_validator("role", mode="before")
    @classmethod
    def _no_instructions(cls, role: object) -> object:
        if role in ("system", "developer"):
            raise ValueError("these policies know no instructions: put the problem into one user message, and no other")
        return role


class ChatRequest(OpenAIRequest):
    """`POST /v1/chat/completions`: one user message, and after it at most one assistant message to continue."""

    model: ModelId
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2, fail_fast=True)]
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    n: Annotated[StrictInt, Field(ge=1, le=MAX_N)] = 1
    seed: Seed | None = None
    stop: Stops | None = None
    logprobs: StrictBool = False
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    stream: StrictBool = False
    stream_options: StreamOptions | None = None
    user: UserTag | None = None

    @model_validator(mode="after")
    def _roles(self) -> ChatRequest:
        roles = [message.role for message in self.messages]
        if roles not in (["user"], ["user", "assistant"]):
            raise ValueError("messages must be one user message, optionally followed by one assistant message")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("give max_tokens or max_completion_tokens, not both")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        return self


class Usage(Answer):
    """Token counts of one answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionLogprobs(Answer):
    """OpenAI's legacy logprobs block; `text_offset` counts characters from the start of the completion."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


FinishReason = Literal["stop", "length", "abort"]


class CompletionChoice(Answer):
    """One completion, or one piece of it in a stream (`finish_reason` is null until its last piece)."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = None
    token_ids: list[int] | None = None


class CompletionAnswer(Answer):
    """`POST /v1/completions`, and each chunk of its stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None
    system_fingerprint: str
    policy: Policy


class TopToken(Answer):
    """An alternative that the policy weighed at one place."""

    token: str
    logprob: float
    bytes: list[int]


class ChatToken(Answer):
    """One written token with its log-probability and alternatives."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopToken]


class ChatLogprobs(Answer):
    """OpenAI's chat logprobs block."""

    content: list[ChatToken]


class ChatText(Answer):
    """The assistant's message, or one piece of it in a stream."""

    role: Literal["assistant"] | None = "assistant"
    content: str


class ChatChoice(Answer):
    """One reply of a chat completion."""

    index: int
    message: ChatText
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None


class ChatAnswer(Answer):
    """`POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str
    policy: Policy


class ChatDelta(Answer):
    """One piece of one reply."""

    index: int
    delta: ChatText
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatChunk(Answer):
    """One event of a streamed chat completion."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatDelta]
    usage: Usage | None = None
    system_fingerprint: str
    policy: Policy
