"""An evaluation plants one error an item, and counts what the completions make of it."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import ValidationError

from actors.records import Completion, GroupRequest, JudgeRequest, Rollout, RolloutGroup
from trainers.evaluation.asking import AskedPolicy
from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import EvalConfig, Evaluation, held_out
from trainers.evaluation.recovery import PlantedItem, planted_items, recovery_rate, with_recovery

CONFIG = EvalConfig.model_validate(
    {"task": {"ops": [3, 5]}, "problems": 6, "samples": 4, "max_tokens": 100, "recovery": True}
)
ITEMS = held_out(CONFIG, Bands(), seed=1)
PLANTED = planted_items(CONFIG, ITEMS, seed=1)
BY_ID = {one.item.id: one for one in PLANTED}
EMPTY = Evaluation("c", 1.0, 100, 5.0, 1.0, (), ())


def rest(planted: PlantedItem) -> str:
    """The gold trace from the planted step on, as a policy that puts the error right would write it."""
    assert planted.item.gold is not None
    return f". {planted.error.right} {planted.item.gold.strip().partition(f'{planted.error.right} ')[2]}"


def run(write) -> tuple[Evaluation, list[GroupRequest]]:
    asked: list[GroupRequest] = []

    async def sample(request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        asked.append(request)
        rollouts = []
        for index in range(request.group_size):
            text, reason = write(BY_ID[by.item.id], index)
            completion = Completion(index, (5, 3), (-1.0, -1.0), reason, 0, 0)
            rollouts.append(Rollout(completion, text, None, None, error="the continuation alone is no trace"))
        return RolloutGroup(request.group_id, by.item, request.prompt_ids, tuple(rollouts))

    def encode(item):
        return tuple(range(len(item.prompt.split())))

    policy = AskedPolicy(sample, encode, (3,), lambda group: 2.0, sequences=8)
    found = asyncio.run(with_recovery(EMPTY, PLANTED, policy, CONFIG, 1))
    return found, asked


def test_every_item_gets_one_error_that_only_seed_and_item_decide():
    assert len(PLANTED) == len(ITEMS) == 12
    assert planted_items(CONFIG, ITEMS[3:], seed=1) == PLANTED[3:]
    assert len({one.error.alternative for one in PLANTED}) == 3
    assert planted_items(CONFIG, ITEMS, seed=2) != PLANTED


def test_outcomes_are_counted_where_the_text_is_known_and_the_rate_is_over_items():
    def write(planted: PlantedItem, index: int):
        if index == 3:
            return ". Define", "length"
        right = planted.error.alternative == "value"
        return (rest(planted), "stop") if right else ("" if index == 0 else " </solution>", "stop")

    found, asked = run(write)
    for score in found.recovery:
        value = score.alternative == "value"
        assert score.outcomes == ({"recovered": 3, "cut off": 1} if value else {"other": 2, "cut off": 1})
    rate = recovery_rate(found.recovery, seed=0)
    values = sum(score.alternative == "value" for score in found.recovery)
    assert rate.mean == pytest.approx(0.75 * values / 12)
    assert rate.lo < rate.mean < rate.hi
    assert (found.tokens, found.flops) == (100 + 12 * 4 * 2, 5.0 + 12 * 2.0)
    assert len({request.seed for request in asked}) == 12


def test_a_trace_has_its_tokens_in_all_with_the_part_that_was_given():
    _, asked = run(lambda planted, index: (rest(planted), "stop"))
    for request, planted in zip(asked, PLANTED, strict=True):
        given = len(planted.error.given.split())
        assert request.sampling.max_tokens == 100 - given
        assert len(request.prompt_ids) == len(str(planted.item.prompt).split()) + given


def test_an_evaluation_with_recovery_comes_back_from_its_file_and_one_from_before_it():
    found, _ = run(lambda planted, index: (rest(planted), "stop"))
    record = json.loads(json.dumps(found.record()))
    assert Evaluation.from_record(record).with_texts(json.loads(json.dumps(found.texts_record()))) == found
    del record["recovery"]
    assert Evaluation.from_record(record).recovery == ()


def test_a_family_that_plants_no_errors_says_so(tmp_path):
    file = tmp_path / "sums.jsonl"
    rows = [{"prompt": f"{split} =", "answer": "2", "split": split} for split in ("train", "test")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValidationError, match="no errors can be planted in traces of the family answers"):
        EvalConfig.model_validate({"task": {"family": "answers", "file": str(file)}, "recovery": True})


def test_a_stage_that_does_not_ask_for_recovery_is_the_stage_that_it_was():
    """Else every run and study of before would have to do its evaluations again."""
    assert "recovery" not in CONFIG.model_copy(update={"recovery": False}).model_dump(mode="json")
    assert CONFIG.model_dump(mode="json")["recovery"] is True
