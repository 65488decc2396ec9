"""Groups that were drawn ahead of their step, as a file of a checkpoint: only older weights could draw them again.

One JSON object per line. An item is stored as its address, from which the task makes it again; nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors.records import Completion, Rollout, RolloutGroup, TokenCredit
from verifier.families import TaskConfig, open_task
from verifier.judgement import from_record, to_record
from verifier.task import Address, Task, item_at

Ahead = Mapping[int, Sequence[RolloutGroup]]
"""The judged groups of each step, in slot order."""


def write_groups(path: Path, ahead: Ahead) -> None:
    """Write the groups; without groups there is no file."""
    if ahead:
        path.write_text("".join(json.dumps(line) + "\n" for line in _lines(ahead)), encoding="utf-8")


def read_groups(path: Path, task: TaskConfig) -> dict[int, list[RolloutGroup]]:
    """The inverse of `write_groups`, given the task that the groups were drawn from; empty if there is no file."""
    ahead: dict[int, list[RolloutGroup]] = {}
    if path.is_file():
        opened = open_task(task)
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            ahead.setdefault(record["step"], []).append(_group(record, opened))
    return ahead


def _lines(ahead: Ahead) -> Iterator[dict[str, Any]]:
    for step, groups in ahead.items():
        for group in groups:
            yield {
                "step": step,
                "group_id": group.group_id,
                "address": group.item.address.record(),
                "prompt_ids": group.prompt_ids,
                "rollouts": [_rollout_record(rollout) for rollout in group.rollouts],
            }


def _rollout_record(rollout: Rollout) -> dict[str, Any]:
    assert rollout.judgement is not None, "completions without a judgement were dropped"
    return {
        "completion": asdict(rollout.completion),
        "text": rollout.text,
        "judgement": to_record(rollout.judgement),
        "reward": rollout.reward,
        "credits": [asdict(credit) for credit in rollout.credits],
    }


def _group(record: Mapping[str, Any], task: Task) -> RolloutGroup:
    item = item_at(task, Address.from_record(record["address"]))
    rollouts = tuple(_rollout(rollout) for rollout in record["rollouts"])
    return RolloutGroup(record["group_id"], item, tuple(record["prompt_ids"]), rollouts)


def _rollout(record: Mapping[str, Any]) -> Rollout:
    drawn = record["completion"]
    tokens = {"token_ids": tuple(drawn["token_ids"]), "logprobs": tuple(drawn["logprobs"])}
    credits = tuple(TokenCredit(**credit) for credit in record["credits"])
    return Rollout(
        Completion(**{**drawn, **tokens}), record["text"], from_record(record["judgement"]), record["reward"], credits
    )
