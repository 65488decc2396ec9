"""A stored step has the learner's numbers at the tokens that they belong to, in whatever order groups stand."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from actors.records import RolloutGroup
from tests.rollouts import judged_group
from tests.unit.trainers.rl.test_loop import Run, config
from trainers.learner.packing import pack
from trainers.records import StepReport
from trainers.rl.drawing import DrawnStep
from trainers.rl.judged import Learned, judged_step


def report(logprobs: np.ndarray) -> StepReport:
    zeros: dict[str, Any] = dict.fromkeys((field.name for field in fields(StepReport)), 0)
    return StepReport(**{**zeros, "logprobs": logprobs})


def test_each_group_that_was_trained_on_has_its_stretch_of_the_batch():
    groups = [judged_group(number) for number in range(4)]
    trained = [groups[3], groups[0]]
    learning = config(learning={"optimizer": {"learning_rate": 1e-4}, "minibatches": 2}).learning
    batch = pack(trained, learning, 8)
    targets = np.concatenate([stream.targets for stream in batch.streams])
    step = judged_step(9, 2, DrawnStep(trained, groups, 0.0), Learned(batch, report(-targets.astype(np.float32)), 0.0))
    assert [(g.place, g.attempt, g.trained) for g in step.groups] == [
        (0, 0, True), (1, 0, False), (0, 1, False), (1, 1, True)
    ]  # fmt: skip
    for judged in step.groups:
        if judged.numbers is None:
            assert not judged.trained
            continue
        own = np.concatenate([rollout.completion.token_ids for rollout in judged.group.rollouts])
        assert judged.numbers.logprobs.tolist() == (-own).tolist()
        assert len(judged.numbers.advantages) == len(own)
        assert judged.numbers.advantages[0] > 0 > judged.numbers.advantages[-1]


def test_a_step_without_a_gradient_keeps_its_groups_without_numbers():
    group: RolloutGroup = judged_group(0)
    step = judged_step(1, 1, DrawnStep([], [group], 0.0), Learned(None, None, 0.0))
    assert [(g.trained, g.numbers) for g in step.groups] == [(False, None)]


def test_the_loop_keeps_every_step_with_all_that_was_judged():
    run = Run(steps=3, refills=1).go()
    assert [step.step for step in run.kept] == [1, 2, 3]
    judged = [values["judged_groups"] for event, values in run.events if event == "rl_step"]
    trained = [values["trained_groups"] for event, values in run.events if event == "rl_step"]
    assert [len(step.groups) for step in run.kept] == judged
    assert [sum(g.trained for g in step.groups) for step in run.kept] == trained
    slots = [(g.place, g.attempt) for g in run.kept[0].groups]
    addresses = [g.group.item.address.index for g in run.kept[0].groups]
    assert [(0, place, attempt) for place, attempt in slots] == addresses


def test_a_record_of_a_report_has_no_arrays():
    assert "logprobs" not in report(np.zeros(3, np.float32)).numbers()
    assert replace(report(np.zeros(3, np.float32)), loss=2.0).numbers()["loss"] == 2.0
