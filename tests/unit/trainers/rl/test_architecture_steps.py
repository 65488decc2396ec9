"""Three steps of RL with every architecture: the loop, the learner and a worker as a run has them, in one process.

The engine is the one of plain transformers; that vLLM takes an update of each architecture is in
`tests/integration/test_architectures.py`, whose engines end the process group that this learner would go on with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from actors.config import Architecture, EngineConfig
from actors.policy.model import load
from actors.policy.tokenizer import TokenizerConfig, build_tokenizer
from actors.records import Completion, GroupRequest, JudgeRequest, Rollout, RolloutGroup
from actors.weights.version import WeightVersion
from actors.workers.rollout import RolloutWorker, SyncReport
from tests.integration.test_architectures import LOAD_S, sharpened
from tests.judgements import verified
from tests.tiny import PROMPT, VOCAB
from trainers.config import RlConfig
from trainers.learner.learner import Learner
from trainers.learner.process_group import form_group_of_one
from trainers.records import Batch, StepReport
from trainers.rl.loop import LoopHooks, LoopState, RlLoop, Score

pytestmark = pytest.mark.timeout(400)

CONFIG = RlConfig.model_validate({
    "task": {"ops": [2], "max_facts": 4}, "steps": 3, "prompts_per_step": 2, "group_size": 4, "max_tokens": 4,
    "checkpoint_every": 3, "learning": {"optimizer": {"learning_rate": 1e-3}},
})  # fmt: skip
ENDS = tuple(range(0, VOCAB, 4))
"""So many tokens end a completion that some completions of a group end in time and others do not."""


class OneWorker:
    """A fleet of one rollout worker. A completion that ends by itself is right."""

    def __init__(self, directory: Path) -> None:
        self.worker = RolloutWorker("worker", directory, EngineConfig(backend="torch"))
        self.sequences = 64

    async def rollout(self, request: GroupRequest, by: JudgeRequest) -> RolloutGroup:
        indices = range(request.group_size)
        drawn = [c async for some in self.worker.generate(request, indices) for c in some]
        rollouts = tuple(self._judged(c) for c in sorted(drawn, key=lambda c: c.index))
        return RolloutGroup(request.group_id, by.item, request.prompt_ids, rollouts)

    def _judged(self, completion: Completion) -> Rollout:
        ended = completion.finish_reason == "stop"
        return Rollout(completion, "", verified(ended), float(ended))

    async def sync(self, weights: WeightVersion) -> Sequence[SyncReport]:
        return [await self.worker.load(weights, LOAD_S, LOAD_S)]


class OneRank:
    """A learner group of one rank, which is this process."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    async def step(self, batch: Batch) -> StepReport:
        return self.learner.step(batch)

    async def publish(self, version: int) -> WeightVersion:
        published = self.learner.publish(version)
        assert published is not None
        return published

    async def lost(self) -> None:
        await asyncio.Event().wait()


async def train(directory: Path) -> list[tuple[str, dict[str, Any]]]:
    """Run the stage from the model of a directory; its events."""
    events: list[tuple[str, dict[str, Any]]] = []

    async def save(state: LoopState, score: Score) -> bool:
        return True

    async def evaluate(step: int) -> float:
        raise AssertionError("no evaluation was asked for")

    learner = OneRank(
        Learner(load(directory), build_tokenizer(TokenizerConfig()), CONFIG.learning.learner_config(CONFIG.steps))
    )
    fleet = OneWorker(directory)
    await fleet.worker.start()
    await fleet.sync(await learner.publish(0))
    hooks = LoopHooks(
        lambda group: 0.0, save, evaluate, lambda event, **fields: events.append((event, fields)), lambda stored: None
    )
    await RlLoop(CONFIG, 0, fleet, learner, lambda item: PROMPT[:12], ENDS, hooks).run()
    await fleet.worker.stop()
    return events


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_three_steps_of_rl_each_move_the_policy_and_the_engine_follows(
    architecture: str, tmp_path: Path, ray_session: Path
) -> None:
    form_group_of_one()
    sharpened(architecture, tied=False, seed=0).save_pretrained(tmp_path)
    events = asyncio.run(train(tmp_path))
    steps = [fields for event, fields in events if event == "rl_step"]
    syncs = [fields for event, fields in events if event == "sync"]
    assert [step["updates"] for step in steps] == [1, 2, 3]
    assert [sync["weight_version"] for sync in syncs] == [1, 2, 3]
    assert max(step["mismatch_max"] for step in steps) <= 1e-4
    assert max(sync["parity_max_abs_diff"] for sync in syncs) <= 1e-4
    assert all(torch.isfinite(torch.tensor(step["loss"])) for step in steps)
