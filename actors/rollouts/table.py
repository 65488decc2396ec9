"""The form of stored rollouts: one row a completion, with all that was known of it when its step was learned.

Pure: records to an Arrow table and back. Where tables lie is `actors.rollouts.store`. A judgement stands in columns of
its own, so that a query can ask for it; the address of an item is JSON, from which its task gives the item again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actors.records import Rollout, RolloutGroup
from verifier.judgement import Judgement, StepJudgement, TraceJudgement, from_record
from verifier.task import Address

FORM: Final = "1"
FORM_KEY: Final = b"interplay.rollouts"

Floats = NDArray[np.float32]

_STEP: Final = pa.struct(
    {
        **dict.fromkeys(("name", "status", "reason"), pa.string()),
        **dict.fromkeys(("start", "end"), pa.int32()),
        "inherited": pa.bool_(),
    }
)
_CREDIT: Final = pa.struct({"start": pa.int32(), "end": pa.int32(), "credit": pa.float64()})
_TRACE: Final = {
    "verified": pa.bool_(),
    "process_accuracy": pa.float64(),
    "first_error": pa.int32(),
    "needed": pa.int32(),
    "faults": pa.list_(pa.string()),
    "steps": pa.list_(_STEP),
}
"""The columns that are null where the family judges no steps."""
SCHEMA: Final = pa.schema(
    {
        "stage": pa.string(),
        **dict.fromkeys(("step", "place", "attempt", "sample"), pa.int32()),
        **dict.fromkeys(("stratum", "item", "address"), pa.string()),
        **dict.fromkeys(("prompt_ids", "completion_ids"), pa.list_(pa.int32())),
        "text": pa.string(),
        **dict.fromkeys(("logprobs", "learner_logprobs", "advantages"), pa.list_(pa.float32())),
        "right": pa.bool_(),
        "answer": pa.string(),
        "partial": pa.float64(),
        **_TRACE,
        "reward": pa.float64(),
        "credits": pa.list_(_CREDIT),
        **dict.fromkeys(("first_weight_version", "weight_version"), pa.int32()),
        "finish_reason": pa.string(),
        "trained": pa.bool_(),
    },
    metadata={FORM_KEY: FORM.encode()},
)


@dataclass(frozen=True, slots=True)
class TokenNumbers:
    """What the learner knew of the tokens of a group, all its completions end to end; log-probabilities in nats."""

    logprobs: Floats
    advantages: Floats


@dataclass(frozen=True, slots=True)
class JudgedGroup:
    """A judged group in its slot; `numbers` is None where it was not trained on."""

    place: int
    attempt: int
    group: RolloutGroup
    trained: bool
    numbers: TokenNumbers | None


@dataclass(frozen=True, slots=True)
class StepRollouts:
    """All judged groups of one step, in slot order; `step` counts from 1, as in metrics.jsonl."""

    step: int
    groups: tuple[JudgedGroup, ...]


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """One row, read back. Log-probabilities are in nats; `learner_logprobs` and `advantages` are of trained ones only.

    `learner_logprobs` are those of the policy before the step.
    """

    stage: str
    step: int
    place: int
    attempt: int
    sample: int
    stratum: str
    item: str
    address: Address
    prompt_ids: list[int]
    completion_ids: list[int]
    text: str
    logprobs: list[float]
    learner_logprobs: list[float] | None
    advantages: list[float] | None
    judgement: Judgement
    reward: float
    credits: list[dict[str, float]]
    first_weight_version: int
    weight_version: int
    finish_reason: str
    trained: bool


def to_table(stage: str, step: StepRollouts) -> pa.Table:
    """The rows of one step of a stage, groups in slot order and completions in theirs."""
    rows = [(judged, rollout) for judged in step.groups for rollout in judged.group.rollouts]
    groups = [judged for judged, _ in rows]
    drawn = [rollout.completion for _, rollout in rows]
    sizes = [len(completion.token_ids) for completion in drawn]
    addresses = [json.dumps(judged.group.item.address.record()) for judged in step.groups]
    columns = {
        "stage": [stage] * len(rows),
        "step": np.full(len(rows), step.step, np.int32),
        "place": [judged.place for judged in groups],
        "attempt": [judged.attempt for judged in groups],
        "sample": [completion.index for completion in drawn],
        "stratum": _repeated(step, [judged.group.item.stratum.name for judged in step.groups]),
        "item": [judged.group.item.id for judged in groups],
        "address": _repeated(step, addresses),
        "prompt_ids": _lists([judged.group.prompt_ids for judged in groups], np.int32),
        "completion_ids": _lists([completion.token_ids for completion in drawn], np.int32),
        "text": [rollout.text for _, rollout in rows],
        "logprobs": _lists([completion.logprobs for completion in drawn], np.float32),
        "learner_logprobs": _numbers(step, sizes, lambda numbers: numbers.logprobs),
        "advantages": _numbers(step, sizes, lambda numbers: numbers.advantages),
        **_judgements([_judged(rollout) for _, rollout in rows]),
        "reward": [rollout.reward for _, rollout in rows],
        "credits": _structs([rollout.credits for _, rollout in rows], _CREDIT),
        "first_weight_version": [completion.first_weight_version for completion in drawn],
        "weight_version": [completion.weight_version for completion in drawn],
        "finish_reason": [completion.finish_reason for completion in drawn],
        "trained": [judged.trained for judged in groups],
    }
    return pa.table(columns, SCHEMA)


def from_table(table: pa.Table) -> Iterator[StoredRollout]:
    """The rows of a table in order."""
    for row in table.to_pylist():
        judgement = {key: row.pop(key) for key in ("right", "answer", "partial", *_TRACE)}
        if judgement["verified"] is None:
            judgement = {key: value for key, value in judgement.items() if key not in _TRACE}
        yield StoredRollout(
            **{**row, "address": Address.from_record(json.loads(row["address"]))}, judgement=from_record(judgement)
        )


def _judged(rollout: Rollout) -> Judgement:
    assert rollout.judgement is not None, "what could not be judged was dropped"
    return rollout.judgement


def _repeated(step: StepRollouts, values: Sequence[str]) -> list[str]:
    """One value a group as one a row."""
    return [value for judged, value in zip(step.groups, values, strict=True) for _ in judged.group.rollouts]


def _lists(values: Sequence[Sequence[float]], kind: Any) -> pa.ListArray:
    sizes = [len(one) for one in values]
    return _cut(np.fromiter(chain.from_iterable(values), kind, sum(sizes)), sizes)


def _cut(flat: Any, sizes: Sequence[int], missing: Sequence[bool] | None = None) -> pa.ListArray:
    """Values end to end as lists of these sizes; null where `missing`."""
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    mask = None if missing is None else pa.array(missing, pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), mask=mask)


def _numbers(step: StepRollouts, sizes: Sequence[int], of: Callable[[TokenNumbers], Floats]) -> pa.ListArray:
    known = [judged.numbers is not None for judged in step.groups for _ in judged.group.rollouts]
    flat = [of(judged.numbers) for judged in step.groups if judged.numbers is not None]
    kept = [size if there else 0 for size, there in zip(sizes, known, strict=True)]
    return _cut(np.concatenate([*flat, np.zeros(0, np.float32)]), kept, [not there for there in known])


def _judgements(judgements: Sequence[Judgement]) -> dict[str, Any]:
    traces = [judgement if isinstance(judgement, TraceJudgement) else None for judgement in judgements]
    columns: dict[str, Any] = {key: [getattr(j, key) for j in judgements] for key in ("right", "answer", "partial")}
    for key in ("verified", "process_accuracy", "first_error", "needed", "faults"):
        columns[key] = [None if trace is None else getattr(trace, key) for trace in traces]
    steps = [() if trace is None else trace.steps for trace in traces]
    return {**columns, "steps": _structs(steps, _STEP, [trace is None for trace in traces])}


def _structs(
    values: Sequence[Sequence[StepJudgement | Any]], kind: pa.StructType, missing: Sequence[bool] | None = None
) -> pa.ListArray:
    flat = list(chain.from_iterable(values))
    columns = [pa.array([getattr(one, field.name) for one in flat], field.type) for field in kind]
    return _cut(pa.StructArray.from_arrays(columns, fields=list(kind)), [len(one) for one in values], missing)
