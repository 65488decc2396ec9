# pyright: strict
"""What crosses the wire: one pydantic model per request body and per answer. No behaviour beyond validation.

Requests refuse unknown fields (a misspelt field must never be ignored); every bound that `GET /v1/limits` shows is
declared here once. Lists of a request stop at their first wrong item (`fail_fast`): each further error would be built
on the event loop, and no caller is told of it. Answers carry the policy that gave them (`Policy`): checkpoint, hashes,
seed and sampling used.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, StrictInt, StrictStr, Tag

from serving import limits

MAX_BODY_BYTES = 256 * 1024
MAX_JSON_DEPTH = 16
MAX_JSON_VALUES = 20_000  # 256 KB of single digits would hold the interpreter for 20 ms
MAX_JSON_FIELDS = 100  # of all objects together; each unknown one is an error that is built on the event loop
MAX_FAMILY_CHARS = 128  # of a model id before its @: the run, and the stage unless it is the RL stage
MAX_STEP_DIGITS = 9  # after it
MAX_PROMPT_CHARS = 65_536
MAX_PROMPTS = 16
MAX_NEW_TOKENS = 4096
MAX_N = 64
MAX_TOTAL_TOKENS = 65_536  # prompts x n x max_tokens of one request
MAX_ALTERNATIVES = 131_072  # the same x logprobs: 12 MB of an answer
MAX_STOPS = 4
MAX_STOP_CHARS = 32
MAX_LOGPROBS = 20
MAX_OP = 40
MAX_COMPARED = 16
MAX_WATCHERS = 256  # of runs, per replica; of one address no more have a connection
MAX_WORKERS = 1024  # of one kind, that a run may be asked for
MAX_PLANTED_STEPS = 16
MAX_DRAWS = 4096  # steps x alternatives x models x samples of one recovery map
MAX_SEED = 2**53 - 1  # the largest integer that a JavaScript client sends unharmed
DEADLINE_S = 60.0
DEFAULT_MAX_TOKENS = 256


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("NUL characters are not allowed")
    return text


Seed = Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]
ModelId = Annotated[StrictStr, Field(min_length=1, max_length=MAX_FAMILY_CHARS + 1 + MAX_STEP_DIGITS)]
TokenId = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_PROMPT_CHARS, fail_fast=True)]
PromptText = Annotated[StrictStr, Field(max_length=MAX_PROMPT_CHARS), AfterValidator(_without_nul)]
StopText = Annotated[StrictStr, Field(min_length=1, max_length=MAX_STOP_CHARS)]
StopTexts = Annotated[list[StopText], Field(max_length=MAX_STOPS, fail_fast=True)]
# The tags are no identifiers, so that they can be told from field names where an error says what it is about.
Stops = Annotated[
    Annotated[StopText, Tag("one-text")] | Annotated[StopTexts, Tag("many-texts")],
    Discriminator(lambda given: "many-texts" if isinstance(given, list) else "one-text"),
]
UserTag = Annotated[StrictStr, Field(max_length=128)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0, allow_inf_nan=False)]
TopP = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
MaxTokens = Annotated[StrictInt, Field(ge=1, le=MAX_NEW_TOKENS)]


def stop_strings(stop: Stops | None) -> tuple[str, ...]:
    """OpenAI's three forms of `stop` as one."""
    return () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)


class Request(BaseModel):
    """Base of the request bodies: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """Base of the answers."""

    model_config = ConfigDict(frozen=True)


# --- Errors -----------------------------------------------------------------------------------------------------------


class ErrorBody(Answer):
    """The inside of every error. `param` names the field at fault; `code` is stable and meant for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(Answer):
    """The one error shape, for every status and inside streams."""

    error: ErrorBody


# --- The policy behind an answer --------------------------------------------------------------------------------------


class SamplingUsed(Answer):
    """The sampling that drew the tokens, after defaults. Log-probabilities are those of this distribution."""

    temperature: float
    top_p: float
    max_tokens: int
    stop: list[str]


class Policy(Answer):
    """Who answered. `requested` is the id or alias asked for, `model` what it resolved to."""

    model: str
    requested: str
    checkpoint: str
    stage: str
    step: int
    weight_hash: str
    tokenizer_hash: str
    engine: str
    seed: int
    sampling: SamplingUsed


# --- Models ---------------------------------------------------------------------------------------------------------


class ModelCard(Answer):
    """One servable checkpoint or alias. `created` is in Unix seconds; `alias_of` is set for aliases only."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "interplay"
    alias_of: str | None = None
    run: str
    stage: str
    step: int
    checkpoint: str
    parent: str | None
    weight_hash: str
    tokenizer_hash: str
    tokens: int
    flops: float
    score: float | None
    loaded: bool
    max_model_len: int | None = None


class ModelList(Answer):
    """`GET /v1/models`: aliases first, then checkpoints in the order of training."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


# --- Operations -------------------------------------------------------------------------------------------------------


class Live(Answer):
    """`GET /healthz`."""

    status: Literal["ok"] = "ok"


class Ready(Answer):
    """`GET /readyz` (200): at least one model answers and the server is not draining."""

    status: Literal["ready"] = "ready"
    loaded: list[str]


class Version(Answer):
    """`GET /version`."""

    interplay: str
    engine: str
    ray: str
    api: Literal["v1"] = "v1"


class Limits(Answer):
    """`GET /v1/limits`: every bound a request can run into. Sizes are in the unit the name says.

    `tokens_per_minute` is what one key may ask for (max_tokens x samples x problems), `running` the places in the
    engines and `reserve` those beyond them for keys below their fair share. `pipelined` requests may be sent ahead on
    one connection; of an answer that waits for its client, `min_read_bytes` have to be taken in each `unread_answer_s`.
    `work_queued` requests may wait for each kind of the server's own work.
    """

    body_bytes: int = MAX_BODY_BYTES
    json_depth: int = MAX_JSON_DEPTH
    json_values: int = MAX_JSON_VALUES
    json_fields: int = MAX_JSON_FIELDS
    url_bytes: int = limits.MAX_URL_BYTES
    headers: int = limits.MAX_HEADERS
    head_bytes: int = limits.MAX_HEAD_BYTES
    head_timeout_s: float = limits.HEAD_TIMEOUT_S
    body_timeout_s: float = limits.BODY_TIMEOUT_S
    idle_timeout_s: float = limits.IDLE_TIMEOUT_S
    pipelined: int = limits.MAX_PIPELINED
    unread_body_s: float = limits.UNREAD_BODY_S
    unread_answer_s: float = limits.UNREAD_ANSWER_S
    unread_answer_bytes: int = limits.MAX_UNREAD_ANSWER_BYTES
    min_read_bytes: int = limits.MIN_READ_BYTES
    connections: int = limits.MAX_CONNECTIONS
    connections_per_address: int = limits.MAX_CONNECTIONS_PER_ADDRESS
    prompt_chars: int = MAX_PROMPT_CHARS
    prompts: int = MAX_PROMPTS
    max_tokens: int = MAX_NEW_TOKENS
    n: int = MAX_N
    total_tokens: int = MAX_TOTAL_TOKENS
    total_alternatives: int = MAX_ALTERNATIVES
    stops: int = MAX_STOPS
    stop_chars: int = MAX_STOP_CHARS
    logprobs: int = MAX_LOGPROBS
    op: int = MAX_OP
    compared: int = MAX_COMPARED
    watchers: int = MAX_WATCHERS
    workers: int = MAX_WORKERS
    planted_steps: int = MAX_PLANTED_STEPS
    draws: int = MAX_DRAWS
    seed: int = MAX_SEED
    deadline_s: float = DEADLINE_S
    rate_per_minute: int
    burst: int
    tokens_per_minute: int = 0
    running: int
    reserve: int = 0
    queued: int
    work_queued: int = 0
    key_chars: int = 0


# --- Admin ------------------------------------------------------------------------------------------------------------


class LoadRequest(Request):
    """`POST /v1/admin/load` and `/v1/admin/unload`: a model id or alias from `GET /v1/models`, never a path."""

    model: ModelId


class LoadAnswer(Answer):
    """What is in memory now, least recently used first; `pinned` are not evicted."""

    loaded: list[str]
    pinned: list[str]


class AliasRequest(Request):
    """`POST /v1/admin/alias`: points an alias at a model; null lets it follow the run again (or removes it)."""

    alias: Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    model: ModelId | None


class AliasAnswer(Answer):
    """All aliases and what they resolve to now."""

    aliases: dict[str, str]


class CanaryRequest(Request):
    """`POST /v1/admin/canary`: gives `model` a share of the traffic of `alias`; share 0 ends it."""

    alias: Annotated[StrictStr, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    model: ModelId
    share: Annotated[float, Field(ge=0.0, le=0.5, allow_inf_nan=False)]


class CanarySide(Answer):
    """The judged traffic of one side: how many answers, and their mean process accuracy in [0, 1]."""

    model: str
    judged: int
    process_accuracy: float


class CanaryAnswer(Answer):
    """The canary's state; `log` holds the audit lines, newest last."""

    alias: str | None
    share: float
    state: Literal["none", "running", "promotable", "rolled back"]
    stable: CanarySide | None
    canary: CanarySide | None
    log: list[str]
