# pyright: strict
"""`compare`: the same problem asked of several models, aligned by node."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt

from serving.probe.bodies.judgements import StepStatusName
from serving.probe.bodies.problems import About
from serving.probe.bodies.solve import SolveAnswer
from serving.schemas import (
    DEFAULT_MAX_TOKENS,
    MAX_COMPARED,
    MAX_LOGPROBS,
    Answer,
    MaxTokens,
    ModelId,
    Seed,
    Temperature,
    TopP,
)


class CompareRequest(About):
    """`POST /v1/probe/compare`: the same problem and seed, asked of each model."""

    models: Annotated[list[ModelId], Field(min_length=2, max_length=MAX_COMPARED, fail_fast=True)]
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    seed: Seed | None = None
    logprobs: Annotated[StrictInt, Field(ge=0, le=MAX_LOGPROBS)] = 0


class CompareCell(Answer):
    """What one model did at one node; `text` is its step's sentence, `step` indexes that answer's steps."""

    status: StepStatusName
    reason: str
    step: int
    text: str


class CompareRow(Answer):
    """One step across the models, in the order of `models`; null where a model says nothing of the node.

    Rows come in the order of the gold trace, then invented quantities as they appear. `same` compares the texts.
    """

    node: str
    known: bool
    cells: list[CompareCell | None]
    same: bool


class Parting(Answer):
    """The first place where the traces differ: the node, the first differing token of any pair, and a sentence."""

    node: str | None
    token: int
    sentence: str


class CompareAnswer(Answer):
    """`POST /v1/probe/compare`: `answers[i]` belongs to `models[i]`; `parting` is null when all texts are equal."""

    problem_id: str
    seed: int
    answers: list[SolveAnswer]
    rows: list[CompareRow]
    parting: Parting | None
