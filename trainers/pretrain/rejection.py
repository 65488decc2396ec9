"""Rejection sampling: before it trains, the stage draws completions of the policy and keeps those that are verified.

Every group's draws have a derived seed, and what is kept is in slot order, so the same weights give the same documents
with any fleet. Token ids are kept as the engine returned them, end token included; text is never tokenised again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any, Self

from actors.records import GroupRequest, JudgeRequest, Rollout, RolloutGroup, Sampling
from trainers.budget import Spent
from trainers.config import RejectionConfig
from trainers.evaluation.asking import AskedPolicy
from trainers.evaluation.ledger import drawing_paper_tokens
from trainers.learner.packing import Document
from trainers.pretrain.items import training_items
from verifier.errors import Failure
from verifier.rewards.registry import Reward
from verifier.seeds import derive
from verifier.task import Item

_FAILED_SHARE = 0.01  # of the completions; above it the stage stops rather than train on the rest
_JUDGE = "Correct the judge of the task, then resume the run."
_REWARDS = (Reward("outcome"),)  # a request for judging names a reward; here only the judgement counts


class NothingKept(Failure):
    """No completion was verified, or the verifier failed on too many; then the message has its first error."""

    fix = "Draw more, use easier problems, or start from a policy that solves some of them."


@dataclass(frozen=True, slots=True)
class Drawn:
    """The documents that were kept, each once, the number of completions drawn, and what the drawing cost.

    The verifier failed on `failed` of the completions, and said `error` of the first of them.
    """

    documents: tuple[Document, ...]
    completions: int
    spent: Spent
    failed: int = 0
    error: str | None = None

    def record(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The inverse of `record`."""
        documents = tuple(Document(tuple(d["token_ids"]), d["loss_from"]) for d in record["documents"])
        return cls(**{**record, "documents": documents, "spent": Spent(**record["spent"])})


async def draw(policy: AskedPolicy, config: RejectionConfig, seed: int, progress: Callable[[int, int], None]) -> Drawn:
    """Draw a group for each of the stage's prompts and keep what is verified.

    `progress` is called with (groups done, groups in all). Raises NothingKept.
    """
    sampling = Sampling(config.max_tokens, config.temperature, stop_token_ids=policy.end_ids)
    done = 0

    async def one(number: int, item: Item) -> _Kept:
        nonlocal done
        drawn_with = derive(seed, "rejection", number)
        request = GroupRequest(number, drawn_with, policy.encode(item), config.group_size, sampling)
        group = await policy.rollout(request, JudgeRequest(config.task, item, _REWARDS))
        done += 1
        progress(done, config.prompts)
        return _kept(group, policy.cost(group))

    items = islice(training_items(config.task, seed), config.prompts)
    asks = [partial(one, number, item) for number, item in enumerate(items)]
    return _together(await policy.each(asks, config.group_size), config.prompts * config.group_size)


@dataclass(frozen=True, slots=True)
class _Kept:
    """All that stays of a group; `longest` is its longest sequence in tokens, `error` its first of the verifier."""

    documents: tuple[Document, ...]
    judged: int
    longest: int
    flops: float
    error: str | None


def _kept(group: RolloutGroup, flops: float) -> _Kept:
    judged = sum(rollout.judgement is not None for rollout in group.rollouts)
    longest = len(group.prompt_ids) + max(len(rollout.completion.token_ids) for rollout in group.rollouts)
    return _Kept(_documents(group), judged, longest, flops, group.error)


def _together(groups: Sequence[_Kept], asked: int) -> Drawn:
    failed = asked - sum(group.judged for group in groups)
    error = next((group.error for group in groups if group.error is not None), None)
    if failed > max(1, _FAILED_SHARE * asked):
        raise NothingKept(f"the verifier failed on {failed} of {asked} completions; its first error: {error}", _JUDGE)
    documents = tuple(dict.fromkeys(document for group in groups for document in group.documents))
    if not documents:
        raise NothingKept(f"none of {asked} completions was verified")
    longest = max(group.longest for group in groups)
    flops = sum(group.flops for group in groups)
    spent = Spent(flops=flops, paper_tokens=drawing_paper_tokens(asked, longest))
    return Drawn(documents, asked, spent, failed, error)


def _documents(group: RolloutGroup) -> tuple[Document, ...]:
    """The group's verified completions."""
    written = [rollout.completion.token_ids for rollout in group.rollouts if _verified(rollout)]
    return tuple(Document((*group.prompt_ids, *token_ids), len(group.prompt_ids)) for token_ids in written)


def _verified(rollout: Rollout) -> bool:
    """Whether it is verified and was not cut off: a completion that was cut off would teach not to end."""
    judged = rollout.judgement is not None and rollout.judgement.solved
    return judged and rollout.completion.finish_reason == "stop"
