"""Packed token streams, which the learner computes on, made from rollout groups or from training documents.

A stream is a sequence of tokens without padding. Only attention knows about separate texts: the tokens of a *segment*
attend to the earlier ones of the same segment, and those of a completion also to the prompt of its group, which is
stored once for all its completions. The result equals that of a padded batch
(tests/unit/trainers/learner/test_packing.py). Pure: records in, a record out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

from actors.records import Rollout, RolloutGroup
from trainers.algorithms.advantages import overlong, token_advantages
from trainers.algorithms.algorithm import Average
from trainers.algorithms.registry import ALGORITHMS
from trainers.config import LearningConfig
from trainers.records import Batch, Floats, Ints, Segments, Stream

_LENGTH_STEP = 16  # documents whose lengths round up to the same multiple share an attention table


@dataclass(frozen=True, slots=True)
class Document:
    """A training text as token ids; the loss is on the tokens from index `loss_from` on (at least 1)."""

    token_ids: tuple[int, ...]
    loss_from: int


@dataclass(frozen=True, slots=True)
class _Sample:
    """A completion with its per-token values; `weight` is per token."""

    token_ids: tuple[int, ...]
    advantage: Floats
    behaviour_logprob: tuple[float, ...]
    weight_version: int
    weight: float


@dataclass(frozen=True, slots=True)
class _Group:
    prompt_ids: tuple[int, ...]
    samples: tuple[_Sample, ...]

    @property
    def tokens(self) -> int:
        return len(self.prompt_ids) + sum(len(sample.token_ids) for sample in self.samples)


Item = TypeVar("Item", _Group, Document)


def pack(groups: Sequence[RolloutGroup], config: LearningConfig, max_tokens: int) -> Batch:
    """The batch of one RL step. Groups are taken in id order, so the order of arrival changes nothing.

    `max_tokens` is the longest completion allowed, which some averages and the overlong penalty need. Every rollout
    needs a reward and at least one token; the caller has dropped those on which the verifier failed.
    """
    ordered = sorted(groups, key=lambda group: group.group_id)
    rewards = [_rewards(group, config, max_tokens) for group in ordered]
    advantages = ALGORITHMS[config.algorithm].advantages(rewards, config)
    count = min(config.minibatches, len(ordered))
    bounds = [round(i * len(ordered) / count) for i in range(count + 1)]
    minibatches = []
    for start, end in pairwise(bounds):
        weigh = _weigher(ordered[start:end], config.average, max_tokens)
        made = [_group(g, a, config, weigh) for g, a in zip(ordered[start:end], advantages[start:end], strict=True)]
        minibatches.append(tuple(_group_stream(part) for part in _within(made, config.microbatch_tokens)))
    return Batch(tuple(minibatches))


def pack_documents(documents: Sequence[Document], microbatch_tokens: int) -> Batch:
    """The batch of one pre-training step: mean loss over all predicted tokens of the documents.

    Documents are sorted by length, so that those of one attention table have similar lengths.
    """
    ordered = sorted(documents, key=lambda document: len(document.token_ids))
    weight = 1.0 / sum(len(document.token_ids) - document.loss_from for document in ordered)
    return Batch((tuple(_document_stream(part, weight) for part in _within(ordered, microbatch_tokens)),))


def _reward(rollout: Rollout) -> float:
    if rollout.reward is None:
        raise ValueError(f"a rollout without a reward cannot be trained on ({rollout.error})")
    return rollout.reward


def _rewards(group: RolloutGroup, config: LearningConfig, max_tokens: int) -> list[float]:
    rewards = [_reward(rollout) for rollout in group.rollouts]
    if not config.overlong_tokens:
        return rewards
    lengths = [len(rollout.completion.token_ids) for rollout in group.rollouts]
    return [r + p for r, p in zip(rewards, overlong(lengths, max_tokens, config.overlong_tokens), strict=True)]


def _weigher(groups: Sequence[RolloutGroup], average: Average | None, max_tokens: int) -> Weigher:
    lengths = [len(r.completion.token_ids) for g in groups for r in g.rollouts]
    return Weigher(average, sum(lengths), len(lengths), max_tokens)


@dataclass(frozen=True, slots=True)
class Weigher:
    """The loss weight of each token of a completion, by the algorithm's average."""

    average: Average | None
    tokens: int
    completions: int
    longest: int

    def weight(self, length: int) -> float:
        """The weight of each token of a completion of `length` tokens."""
        if self.average == "completions":
            return 1.0 / (length * self.completions)
        if self.average == "longest":
            return 1.0 / (self.longest * self.completions)
        return 1.0 / self.tokens


def _group(group: RolloutGroup, advantages: Sequence[float], config: LearningConfig, weigh: Weigher) -> _Group:
    per_token = token_advantages(group.rollouts, advantages, config.token_credit, config.credit_kind)
    samples = tuple(
        _Sample(
            token_ids=rollout.completion.token_ids,
            advantage=advantage,
            behaviour_logprob=rollout.completion.logprobs,
            weight_version=rollout.completion.first_weight_version,
            weight=weigh.weight(len(rollout.completion.token_ids)),
        )
        for rollout, advantage in zip(group.rollouts, per_token, strict=True)
    )
    return _Group(group.prompt_ids, samples)


def _within(items: Iterable[Item], budget: int) -> Iterator[list[Item]]:
    """Consecutive items cut where the next would exceed `budget` tokens; a larger item stands alone."""
    part: list[Item] = []
    used = 0
    for item in items:
        size = item.tokens if isinstance(item, _Group) else len(item.token_ids)
        if part and used + size > budget:
            yield part
            part, used = [], 0
        part.append(item)
        used += size
    if part:
        yield part


def _group_stream(groups: Sequence[_Group]) -> Stream:
    """The stream of some groups: each prompt, then each completion at positions that follow the prompt."""
    ids: list[int] = []
    positions: list[int] = []
    sources: list[int] = []
    prompts: list[range] = []
    completions: list[tuple[range, range]] = []
    samples: list[_Sample] = []
    for group in groups:
        prompt = range(len(ids), len(ids) + len(group.prompt_ids))
        prompts.append(prompt)
        ids += group.prompt_ids
        positions += range(len(prompt))
        for sample in group.samples:
            own = range(len(ids), len(ids) + len(sample.token_ids))
            ids += sample.token_ids
            positions += range(len(prompt), len(prompt) + len(own))
            sources += [prompt[-1], *own[:-1]]
            completions.append((prompt, own))
            samples.append(sample)
    segments = (
        _causal(prompts),
        Segments(_padded([own for _, own in completions]), _padded([[*p, *own] for p, own in completions]), False),
    )
    return Stream(
        input_ids=np.asarray(ids, np.int64),
        positions=np.asarray(positions, np.int64),
        segments=segments,
        places=_places(segments, len(ids)),
        sources=np.asarray(sources, np.int64),
        targets=np.concatenate([np.asarray(s.token_ids, np.int64) for s in samples]),
        weight=np.concatenate([np.full(len(s.token_ids), s.weight, np.float32) for s in samples]),
        advantage=np.concatenate([s.advantage for s in samples]),
        behaviour_logprob=np.concatenate([np.asarray(s.behaviour_logprob, np.float32) for s in samples]),
        weight_version=np.concatenate([np.full(len(s.token_ids), s.weight_version, np.int64) for s in samples]),
        completion=np.repeat(np.arange(len(samples)), [len(s.token_ids) for s in samples]),
    )


def _document_stream(documents: Sequence[Document], weight: float) -> Stream:
    ids: list[int] = []
    positions: list[int] = []
    sources: list[int] = []
    spans: list[range] = []
    for document in documents:
        span = range(len(ids), len(ids) + len(document.token_ids))
        spans.append(span)
        ids += document.token_ids
        positions += range(len(span))
        sources += span[document.loss_from - 1 : -1]
    segments = tuple(_causal(table) for table in _by_length(spans))
    count = len(sources)
    return Stream(
        input_ids=np.asarray(ids, np.int64),
        positions=np.asarray(positions, np.int64),
        segments=segments,
        places=_places(segments, len(ids)),
        sources=np.asarray(sources, np.int64),
        targets=np.asarray(ids, np.int64)[np.asarray(sources, np.int64) + 1],
        weight=np.full(count, weight, np.float32),
        advantage=np.ones(count, np.float32),
        behaviour_logprob=np.zeros(count, np.float32),
        weight_version=np.zeros(count, np.int64),
        completion=np.zeros(count, np.int64),
    )


def _by_length(spans: Sequence[range]) -> list[list[range]]:
    """Group spans that are ordered by length into tables of about equal length."""
    tables: dict[int, list[range]] = {}
    for span in spans:
        tables.setdefault(-(-len(span) // _LENGTH_STEP), []).append(span)
    return list(tables.values())


def _causal(spans: Sequence[range]) -> Segments:
    places = _padded(spans)
    return Segments(places, places, True)


def _padded(rows: Sequence[Sequence[int]]) -> Ints:
    table = np.full((len(rows), max(len(row) for row in rows)), -1, np.int64)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table


def _places(segments: Sequence[Segments], tokens: int) -> Ints:
    """For each token of the stream, the index of its attention output among the segments' outputs."""
    queries = np.concatenate([s.queries.reshape(-1) for s in segments])
    places = np.full(tokens, -1, np.int64)
    real = np.flatnonzero(queries >= 0)
    places[queries[real]] = real
    return places
