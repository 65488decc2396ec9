"""Judged groups for tests of what is kept of them: real items, texts that are right, wrong, and cut off."""

from __future__ import annotations

import numpy as np

from actors.records import Completion, Rollout, RolloutGroup, TokenCredit
from actors.rollouts.table import JudgedGroup, StepRollouts, TokenNumbers
from verifier.families import config_of, open_task

TASK_CONFIG = config_of("graphs").model_validate({"ops": [2, 3], "max_facts": 4})
TASK = open_task(TASK_CONFIG)


def judged_group(number: int, step: int = 1) -> RolloutGroup:
    """A gold text, one with a wrong first value, and one that is cut off."""
    item = TASK.item(TASK.strata()[number % len(TASK.strata())], 7, (step, number, 0), "train")
    assert item.gold is not None
    texts = (item.gold, item.gold.replace(" = ", " = 9", 1), item.gold[: len(item.gold) // 2])
    return RolloutGroup(
        number, item, (4, 5, number), tuple(_rollout(item, number, i, text) for i, text in enumerate(texts))
    )


def _rollout(item, number: int, index: int, text: str) -> Rollout:
    length = 3 + index
    reason = "length" if index == 2 else "stop"
    logprobs = tuple(-0.1 * (i + 1) for i in range(length))
    ids = tuple(range(20 * number, 20 * number + length))
    completion = Completion(index, ids, logprobs, reason, 3, 2)
    judgement = TASK.judge(item, text)
    return Rollout(completion, text, judgement, float(index == 0), (TokenCredit(0, 2, 1.0),) if index == 0 else ())


def step_rollouts(step: int, groups: int = 2) -> StepRollouts:
    """A step of `groups` groups, of which all but the last were trained on."""
    made = [judged_group(number, step) for number in range(groups)]
    return StepRollouts(step, tuple(_in_slot(n, group, n < groups - 1) for n, group in enumerate(made)))


def _in_slot(place: int, group: RolloutGroup, trained: bool) -> JudgedGroup:
    tokens = sum(len(rollout.completion.token_ids) for rollout in group.rollouts)
    numbers = TokenNumbers(np.linspace(-1, 0, tokens, dtype=np.float32), np.full(tokens, 0.5, np.float32))
    return JudgedGroup(place, 0, group, trained, numbers if trained else None)
