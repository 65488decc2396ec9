"""What is stored of a rollout comes back whole, and its text judged again gives the judgement to the byte."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from actors.records import Rollout
from actors.rollouts.table import SCHEMA, from_table, to_table
from tests.rollouts import TASK, step_rollouts
from tests.tasks import ITEM
from verifier.judgement import Judgement, to_record
from verifier.task import item_at


def test_every_column_of_a_step_comes_back():
    step = step_rollouts(12)
    rows = list(from_table(to_table("rl", step)))
    rollouts = [(judged, rollout) for judged in step.groups for rollout in judged.group.rollouts]
    assert len(rows) == len(rollouts) == 6
    for row, (judged, rollout) in zip(rows, rollouts, strict=True):
        drawn = rollout.completion
        assert (row.stage, row.step, row.place, row.attempt, row.sample) == ("rl", 12, judged.place, 0, drawn.index)
        assert (row.address, row.item) == (judged.group.item.address, judged.group.item.id)
        assert row.stratum == judged.group.item.stratum.name
        assert (tuple(row.prompt_ids), tuple(row.completion_ids)) == (judged.group.prompt_ids, drawn.token_ids)
        assert row.logprobs == pytest.approx(drawn.logprobs)
        assert (row.text, row.judgement, row.reward) == (rollout.text, rollout.judgement, rollout.reward)
        assert [(c["start"], c["end"], c["credit"]) for c in row.credits] == [
            (c.start, c.end, c.credit) for c in rollout.credits
        ]
        assert (row.first_weight_version, row.weight_version, row.finish_reason) == (2, 3, drawn.finish_reason)
        assert row.trained == judged.trained


def test_the_learners_numbers_are_cut_at_the_completions_and_missing_where_nothing_was_learned():
    step = step_rollouts(1)
    rows = list(from_table(to_table("rl", step)))
    numbers = step.groups[0].numbers
    assert numbers is not None
    assert [len(row.learner_logprobs or []) for row in rows] == [3, 4, 5, 0, 0, 0]
    told = [value for row in rows for value in row.learner_logprobs or []]
    assert told == numbers.logprobs.tolist()
    assert rows[3].learner_logprobs is None
    assert rows[3].advantages is None
    assert rows[0].advantages == [0.5] * 3


def test_a_stored_text_judged_again_gives_the_same_bytes():
    for row in from_table(to_table("rl", step_rollouts(1, groups=4))):
        again = TASK.judge(item_at(TASK, row.address), row.text)
        assert json.dumps(to_record(again)) == json.dumps(to_record(row.judgement))


def test_a_judgement_without_steps_comes_back_as_one():
    step = step_rollouts(1, groups=1)
    plain = Judgement(right=False, answer="7", partial=0.25)
    group = step.groups[0].group
    rollouts: tuple[Rollout, ...] = tuple(replace(rollout, judgement=plain) for rollout in group.rollouts)
    judged = replace(step.groups[0], group=replace(group, item=ITEM, rollouts=rollouts))
    rows = list(from_table(to_table("rl", replace(step, groups=(judged,)))))
    assert [row.judgement for row in rows] == [plain] * 3
    assert rows[0].address == ITEM.address


def test_the_columns_are_those_of_the_documented_form():
    assert to_table("rl", step_rollouts(1)).schema.equals(SCHEMA, check_metadata=True)
