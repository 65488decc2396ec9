"""What a recipe says about rewards, and the number that it gives.

A reward is one of `verifier.rewards.named`, or the user's own function by import path, `package.module:function`,
called as `function(item, text, judgement)`. A user's function that needs steps says so: `function.needs_steps = True`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from verifier.errors import BadJudgement, BadReward
from verifier.judgement import Judgement, TraceJudgement, check_share, checked
from verifier.mixture import Mixture
from verifier.outside.import_path import load_object
from verifier.outside.time_limit import in_time
from verifier.rewards.named import ANSWER_REWARDS, STEP_REWARDS
from verifier.task import Item, Task

NAMES: tuple[str, ...] = (*ANSWER_REWARDS, *STEP_REWARDS)
MAX_WEIGHT: Final = 1e6  # far from where the sum of several is infinite


@dataclass(frozen=True, slots=True)
class Reward:
    """One reward: its name or import path, and its weight among several.

    `alpha` is the weight of the answer within the blends (mix, published, dense), and nothing to the others.
    """

    name: Annotated[str, Field(description="a named reward, or package.module:function")] = "outcome"
    alpha: Annotated[float, Field(description="mix, published, dense: weight of the answer, from 0 to 1")] = 0.2
    weight: Annotated[
        float, Field(description="among several rewards, of which the weighted mean counts; above 0, up to 1000000")
    ] = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise BadReward(f"alpha is the weight of the answer and lies in [0, 1], not {self.alpha}")
        if not 0.0 < self.weight <= MAX_WEIGHT:
            raise BadReward(f"a weight is a number above 0, at most {MAX_WEIGHT:.0f}, not {self.weight}")
        if self.name not in NAMES and ":" not in self.name:
            near = difflib.get_close_matches(self.name, NAMES, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise BadReward(
                f"there is no reward {self.name!r}; {hint}Choose one of {', '.join(NAMES)}, "
                "or name a function of yours: package.module:function"
            )

    @property
    def needs_steps(self) -> bool:
        """Whether it can be computed of judgements with steps only. Raises BadImportPath."""
        return self.name in STEP_REWARDS or (":" in self.name and getattr(_own(self.name), "needs_steps", False))


def _as_many(value: Any) -> Any:
    return (value,) if isinstance(value, Mapping | Reward) else value


Rewards = Annotated[tuple[Reward, ...], BeforeValidator(_as_many)]
"""Several rewards, of which the weighted mean counts. A recipe may write a single one without a list."""


def reward(judgement: Judgement, item: Item, text: str, rewards: Sequence[Reward]) -> float:
    """The reward of one judged text, in [0, 1]. Raises BadJudgement where a user's function returns anything else."""
    total = sum(r.weight for r in rewards)
    return sum(r.weight * _one(judgement, item, text, r) for r in rewards) / total


def _one(judgement: Judgement, item: Item, text: str, spec: Reward) -> float:
    return check_share(_given(judgement, item, text, spec), f"the reward {spec.name}")


def _given(judgement: Judgement, item: Item, text: str, spec: Reward) -> object:
    if spec.name in ANSWER_REWARDS:
        return ANSWER_REWARDS[spec.name](judgement, spec.alpha)
    if spec.name in STEP_REWARDS:
        assert isinstance(judgement, TraceJudgement), f"{spec.name} was checked against the task's family"
        return STEP_REWARDS[spec.name](judgement, spec.alpha)
    return _own(spec.name)(item, text, judgement)


@lru_cache
def _own(path: str) -> Callable[[Item, str, Judgement], object]:
    found = load_object(path)
    if not callable(found):
        raise BadReward(f"{path} is no function: name one that takes (item, text, judgement)")
    return found


def try_rewards(rewards: Sequence[Reward], task: Task, mixture: Mixture) -> None:
    """Call the user's own rewards, each once, with an item of the mixture's first stratum with a share, judged.

    Raises BadReward, and BadJudgement where one gives no number from 0 to 1.
    """
    for spec in rewards:
        if spec.name not in NAMES:
            in_time(partial(_try, spec, task, mixture), spec.name, BadReward)


def _try(spec: Reward, task: Task, mixture: Mixture) -> None:
    drawn = next(stratum for stratum, share in zip(mixture.strata, mixture.shares, strict=True) if share)
    item = task.item(drawn, 0, 0, "train")
    text = item.gold or "?"
    judgement = checked(task.judge(item, text), text)
    try:
        _one(judgement, item, text, spec)
    except BadJudgement:
        raise
    except BaseException as error:
        raise BadReward(
            f"the reward {spec.name} raised {type(error).__name__}: {error}; "
            "it is called as function(item, text, judgement) and returns a number from 0 to 1"
        ) from error


def check_rewards(rewards: Sequence[Reward], has_steps: bool) -> None:
    """Raises BadReward where there is none or one needs steps that the task's judgements lack, and BadImportPath."""
    if not rewards:
        raise BadReward("there is no reward: name one, for example outcome")
    for spec in rewards:
        if spec.needs_steps and not has_steps:
            raise BadReward(
                f"the reward {spec.name} needs judged steps, which this task does not have: take outcome or score"
            )
