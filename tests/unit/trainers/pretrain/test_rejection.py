"""Rejection keeps what is verified and ended, each text once, whatever the order in which groups come back."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from actors.records import Completion, GroupRequest, JudgeRequest, Rollout, RolloutGroup
from tests.judgements import verified
from trainers.config import RejectionConfig
from trainers.evaluation.asking import AskedPolicy
from trainers.pretrain.rejection import Drawn, NothingKept, draw
from verifier.families import config_of

CONFIG = RejectionConfig.model_validate(
    {
        "task": {"ops": [2, 3], "max_facts": 4},
        "prompts": 6,
        "group_size": 4,
        "max_tokens": 8,
        "steps": 1,
        "documents_per_step": 4,
        "checkpoint_every": 1,
    }
)
# Of each group: verified, the same text again, verified but cut off, and wrong.
WRITTEN = ((True, 7, "stop"), (True, 7, "stop"), (True, 8, "length"), (False, 9, "stop"))


def drawing(
    seed: int = 5, delays: int | None = None, right: bool = True, failing: int = 0, failing_group: int | None = None
) -> tuple[Drawn, list]:
    asked: list[GroupRequest] = []
    waits = random.Random(delays)

    async def sample(request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        asked.append(request)
        for _ in range(waits.randrange(20) if delays is not None else 0):
            await asyncio.sleep(0)
        failed = failing if failing_group in (None, request.group_id) else 0
        rollouts = tuple(_rollout(request, i, right, failed) for i in range(request.group_size))
        return RolloutGroup(request.group_id, by.item, request.prompt_ids, rollouts)

    policy = AskedPolicy(sample, lambda item: (1, len(item.id)), (3,), lambda group: 10.0, sequences=8)
    return asyncio.run(draw(policy, CONFIG, seed, lambda done, total: None)), asked


def _rollout(request: GroupRequest, index: int, right: bool, failing: int) -> Rollout:
    solved, token, end = WRITTEN[index]
    completion = Completion(index, (token, request.group_id, 3), (-1.0,) * 3, end, 0, 0)  # pyright: ignore[reportArgumentType]
    if index < failing:
        return Rollout(completion, "", None, None, error=f"fault {index} of group {request.group_id}")
    return Rollout(completion, "", verified(solved and right), 1.0)


def test_what_is_verified_and_ended_is_kept_once_with_the_loss_on_it():
    drawn, _ = drawing()
    assert [d.token_ids[d.loss_from :] for d in drawn.documents] == [(7, n, 3) for n in range(6)]
    assert {d.loss_from for d in drawn.documents} == {2}
    assert drawn.completions == 24


def test_the_same_text_for_a_problem_that_is_drawn_for_twice_is_kept_once(tmp_path):
    file = tmp_path / "sums.jsonl"
    rows = [{"prompt": f"{split} =", "answer": "2", "split": split} for split in ("train", "test")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = config_of("answers").model_validate({"family": "answers", "file": str(file)})

    async def sample(request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        written = [Completion(i, (7, i + request.group_id % 2, 3), (-1.0,) * 3, "stop", 0, 0) for i in range(2)]
        return RolloutGroup(0, by.item, request.prompt_ids, tuple(Rollout(c, "", verified(True), 1.0) for c in written))

    policy = AskedPolicy(sample, lambda item: (1, 2), (3,), lambda group: 10.0, sequences=8)
    config = CONFIG.model_copy(update={"task": task, "group_size": 2})
    drawn = asyncio.run(draw(policy, config, 5, lambda done, total: None))
    assert [d.token_ids[d.loss_from :] for d in drawn.documents] == [(7, n, 3) for n in (0, 1, 2)]


def test_the_order_of_arrival_changes_nothing_and_the_seed_everything():
    straight, asked = drawing()
    assert drawing(delays=3)[0] == straight
    assert [(r.seed, r.prompt_ids) for r in drawing()[1]] == [(r.seed, r.prompt_ids) for r in asked]
    assert len({r.seed for r in asked}) == 6
    assert {r.seed for r in drawing(seed=6)[1]}.isdisjoint(r.seed for r in asked)


def test_drawing_is_booked_a_forward_pass_of_the_papers_six():
    spent = drawing()[0].spent
    assert (spent.steps, spent.tokens, spent.flops) == (0, 0, 60.0)
    assert spent.paper_tokens == pytest.approx(24 * 5 / 3)  # sequences of 5 tokens


def test_it_comes_back_from_its_file():
    drawn, _ = drawing()
    assert Drawn.from_record(json.loads(json.dumps(drawn.record()))) == drawn


def test_a_policy_that_solves_nothing_and_a_verifier_that_fails_end_the_stage():
    with pytest.raises(NothingKept, match="none of 24 completions was verified"):
        drawing(right=False)
    with pytest.raises(
        NothingKept, match="failed on 24 of 24 completions; its first error: fault 0 of group 0"
    ) as told:
        drawing(failing=4, delays=3)
    assert "judge" in told.value.fix


def test_a_completion_that_could_not_be_judged_is_counted_with_what_the_verifier_said():
    drawn, _ = drawing(failing=1, failing_group=5)
    assert (drawn.failed, drawn.error) == (1, "fault 0 of group 5")
    assert Drawn.from_record(json.loads(json.dumps(drawn.record()))) == drawn
