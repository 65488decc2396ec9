"""Groups drawn ahead come back from a checkpoint as they were."""

from __future__ import annotations

import random
from pathlib import Path

from actors.records import Completion, Rollout, RolloutGroup, TokenCredit
from trainers.rl.drawn_ahead import read_groups, write_groups
from verifier.families import config_of, open_task

TASK = config_of("graphs").model_validate({"ops": [2, 3], "max_facts": 4})


def _group(number: int) -> RolloutGroup:
    task = open_task(TASK)
    item = task.item(task.strata()[0], 7, (3, number, 0), "train")
    draw = random.Random(number)
    rollouts = []
    for index, text in enumerate([item.gold or "", "no trace at all"]):
        completion = Completion(index, (5, 6, 3), (-draw.random(), -draw.random(), -1e-9), "stop", 2, 2)
        judgement = task.judge(item, text)
        rollouts.append(Rollout(completion, text, judgement, judgement.score, (TokenCredit(0, 2, 0.5),)))
    return RolloutGroup(number, item, (1, 2), tuple(rollouts))


def test_groups_come_back_bit_by_bit(tmp_path: Path) -> None:
    ahead = {4: [_group(0), _group(1)], 5: [_group(2)]}
    write_groups(tmp_path / "ahead.jsonl", ahead)
    assert read_groups(tmp_path / "ahead.jsonl", TASK) == ahead


def test_a_checkpoint_without_any_has_no_file(tmp_path: Path) -> None:
    write_groups(tmp_path / "ahead.jsonl", {})
    assert not (tmp_path / "ahead.jsonl").exists()
    assert read_groups(tmp_path / "ahead.jsonl", TASK) == {}
