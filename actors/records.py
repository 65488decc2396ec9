"""The records that cross process borders on the acting side, one per hop.

`GroupRequest -> Completion -> Rollout -> RolloutGroup`. All are frozen and hold plain numbers, so that Ray ships them
by value. Token ids cross; text is decoded once, where it is judged. A `weight_version` is the number under which the
learner published the weights: the learner steps that they have seen in their stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verifier.families import TaskConfig
from verifier.judgement import Judgement
from verifier.rewards.registry import Reward
from verifier.task import Item

FinishReason = Literal["stop", "length", "abort"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw tokens. `stop_token_ids` end a completion and stay in it; `seed` None means unseeded.

    Strings that end a completion are not here: an engine knows no text.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """One prompt to be sampled `group_size` times; sample i draws with a seed derived from (seed, i)."""

    group_id: int
    seed: int
    prompt_ids: tuple[int, ...]
    group_size: int
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """How the completions of a group are judged and rewarded: the task, its item, the rewards of the recipe."""

    task: TaskConfig
    item: Item
    rewards: tuple[Reward, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine wrote after a prompt: token ids, their log-probabilities, and the weights that drew them.

    `index` is the sample's place in its group. `weight_version` is the version of the last token; a completion drawn
    across a weight change carries the first one in `first_weight_version`.
    """

    index: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    weight_version: int
    first_weight_version: int


@dataclass(frozen=True, slots=True)
class TokenCredit:
    """A step's credit on the tokens [start, end) of a completion (`verifier.judgement.StepJudgement.credit`)."""

    start: int
    end: int
    credit: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """A judged completion. Judgement and reward are None exactly when the judge failed on it (`error` says how)."""

    completion: Completion
    text: str
    judgement: Judgement | None
    reward: float | None
    credits: tuple[TokenCredit, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """All rollouts of one prompt, in index order: the unit that is trained on at most once."""

    group_id: int
    item: Item
    prompt_ids: tuple[int, ...]
    rollouts: tuple[Rollout, ...]

    @property
    def oldest_version(self) -> int:
        """The oldest weight version that drew a token of this group."""
        return min(r.completion.first_weight_version for r in self.rollouts)

    @property
    def error(self) -> str | None:
        """What the verifier said of the first completion that it failed on; None where it failed on none."""
        return next((r.error for r in self.rollouts if r.error is not None), None)
