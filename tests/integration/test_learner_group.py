"""The learner as Ray actors: verbs, death and recovery, more than one rank."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import ray
import torch
from ray.util.placement_group import placement_group

from actors.config import PolicyConfig, TokenizerConfig
from actors.policy.checkpoint import CheckpointStore, Lineage
from actors.policy.model import build, load, save
from actors.policy.text_format import read_text_format
from actors.policy.tokenizer import build_tokenizer, load_tokenizer
from actors.weights.object_store import fetch
from trainers.config import OptimizerConfig, PretrainConfig
from trainers.learner.learner import Learner
from trainers.learner.optimizer_state import ResumeError
from trainers.learner.process_group import form_group_of_one
from trainers.learner_group.commands import LearnerLost, PretrainJob
from trainers.learner_group.handle import LearnerGroup
from trainers.learner_group.placement import Placement
from trainers.learner_group.rank import LearnerPlan
from trainers.pretrain.documents import DocumentStream
from trainers.records import Batch
from verifier.families import config_of

pytestmark = pytest.mark.timeout(1200)
POLICY = PolicyConfig(layers=2, hidden=32, ffn=48, heads=2, kv_heads=1, max_positions=512)
STEPS = 4
STAGE = PretrainConfig(
    task=config_of("graphs").model_validate({"ops": (2, 3), "max_facts": 4}),
    steps=STEPS,
    documents_per_step=4,
    checkpoint_every=2,
    report_every=1,
    microbatch_tokens=128,
    optimizer=OptimizerConfig(learning_rate=1e-2),
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A directory with a tokenizer and fresh weights."""
    tokenizer = build_tokenizer(TokenizerConfig(templates=("zoo",)))
    directory = tmp_path / "base"
    directory.mkdir()
    save(build(POLICY, len(tokenizer), 0), tokenizer, directory)
    return directory


@pytest.fixture
async def group(ray_session: Path, base: Path, tmp_path: Path) -> AsyncIterator[Callable[..., LearnerGroup]]:
    """Makes groups that are stopped at the end, whatever happened."""
    made: list[LearnerGroup] = []

    def make(weights: Path = base, workers: int = 1, cpus: float = 0.5, start_s: float = 600) -> LearnerGroup:
        plan = LearnerPlan(STAGE.learner_config(), tokenizer=weights, weights=weights)
        placement = Placement("learner", workers, cpus, 0, {"OMP_NUM_THREADS": "1"}, start_s, 300)
        made.append(LearnerGroup(plan, placement))
        return made[-1]

    yield make
    for learner in made:
        await learner.stop()


def batches(base: Path) -> list[Batch]:
    data = DocumentStream(STAGE, read_text_format(base), 3)
    return [data.batch(step) for step in range(STEPS)]


@ray.remote(num_cpus=0)
def straight(base: Path) -> list[torch.Tensor]:
    """The weights after all batches in one process, which is not that of the tests: vLLM ends its process's group."""
    form_group_of_one()
    learner = Learner(load(base), load_tokenizer(base), STAGE.learner_config())
    for batch in batches(base):
        learner.step(batch)
    return [p.detach() for p in learner.policy.parameters()]


def weights(directory: Path) -> list[torch.Tensor]:
    return [p.detach() for p in load(directory).parameters()]


async def test_a_learner_that_is_killed_continues_from_its_checkpoint_to_the_same_bits(group, base, tmp_path):
    learner = group()
    await learner.start()
    todo = batches(base)
    await learner.step(todo[0])
    report = await learner.step(todo[1])
    assert report.tokens == todo[1].tokens
    version = await learner.publish(7)
    fetched = dict(fetch(version, 30))
    await learner.save(tmp_path / "saved")
    assert version.version == 7
    assert torch.equal(fetched["model.norm.weight"], load(tmp_path / "saved").model.norm.weight)

    await learner.step(todo[2])
    os.kill((await learner.pids())[0], signal.SIGKILL)
    with pytest.raises(LearnerLost):
        await learner.step(todo[3])
    with pytest.raises(LearnerLost):  # nor any later verb: a new group knows nothing of the first two steps
        await learner.step(todo[3])
    await learner.start()
    await learner.load(tmp_path / "saved")
    for batch in todo[2:]:
        await learner.step(batch)
    await learner.save(tmp_path / "end")
    assert all(
        torch.equal(a, b) for a, b in zip(weights(tmp_path / "end"), ray.get(straight.remote(base)), strict=True)
    )

    with pytest.raises(ResumeError, match="no optimiser"):
        await learner.load(base)
    await learner.stop()
    await learner.stop()


async def test_a_rank_that_dies_takes_the_others_with_it_and_a_new_life_starts_where_the_first_did(group, base):
    learner = group(workers=2)
    await learner.start()
    first = await learner.step(batches(base)[0])
    ranks = await learner.pids()
    os.kill(ranks[1], signal.SIGKILL)
    async with asyncio.timeout(30):
        with pytest.raises(LearnerLost):
            await learner.lost()
    assert await asyncio.to_thread(gone, ranks)
    await learner.start()
    again = await learner.step(batches(base)[0])
    assert (again.loss, again.tokens) == (first.loss, first.tokens)


def gone(pids: tuple[int, ...]) -> bool:
    left: list[psutil.Process] = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            left.append(psutil.Process(pid))
    _, alive = psutil.wait_procs(left, timeout=60)
    return not alive


class _Owner:
    """Reserves CPUs under the learner's name, as a controller does."""

    def reserve(self, cpus: float) -> None:
        self.reserved = placement_group([{"CPU": cpus}], name="learner")
        assert self.reserved.wait(60)


async def test_two_ranks_pretrain_like_one_where_a_dead_owner_had_reserved_their_places(group, base, tmp_path):
    owner = cast("Any", ray.remote(num_cpus=0)(_Owner)).remote()
    # Of all there are, not of those free now: it waits until what the test before had is free too.
    ray.get(owner.reserve.remote(ray.cluster_resources()["CPU"] - 0.2))
    ray.kill(owner)
    learner = group(workers=2)
    told = []
    lineage = Lineage(run="r", stage="pretrain", step=0, parent=None, seed=0)
    job = PretrainJob(STAGE, lineage, tmp_path / "checkpoints", 3)
    end = await learner.pretrain(job, told.append)
    await learner.stop()
    assert end.step == 4
    assert [p.step for p in told] == sorted({p.step for p in told})
    store = CheckpointStore(tmp_path / "checkpoints")
    assert [m.id for m in store.list()] == ["pretrain-2", "pretrain-4"]
    for a, b in zip(weights(store.path("pretrain-4")), ray.get(straight.remote(base)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)  # of steps of about 1e-2


async def test_a_group_that_cannot_start_says_why(group, tmp_path):
    learner = group(tmp_path / "missing")
    with pytest.raises(LearnerLost, match="missing"):
        await learner.start()


async def test_a_learner_without_room_says_what_it_waits_for_and_gives_up(group):
    learner = group(cpus=64, start_s=3)
    with pytest.raises(LearnerLost, match=r"not up in 3 s: waits for 1 learner process\(es\), each with 64 CPU"):
        await learner.start()
    assert learner.waits_for == ""
