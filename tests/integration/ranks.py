"""What one rank of a learner does in `test_ranks.py`: python -m tests.integration.ranks RANK RANKS FOLDER.

The process group lives as long as the process, so all cases of one number of ranks run in one set of processes.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist

from actors.config import PolicyConfig, TokenizerConfig
from actors.policy.checkpoint import CheckpointStore, CheckpointWriteError, Draft, Lineage
from actors.policy.model import build
from actors.policy.tokenizer import build_tokenizer
from actors.records import Completion, Rollout, RolloutGroup
from actors.weights.object_store import fetch
from trainers.config import LearningConfig, OptimizerConfig, PretrainConfig
from trainers.learner import learner as learner_module
from trainers.learner.learner import Learner
from trainers.learner.packing import pack
from trainers.learner_group import rank as rank_module
from trainers.learner_group.commands import PretrainJob
from trainers.learner_group.rank import run_pretrain
from trainers.records import Batch
from verifier.families import config_of, open_task

STAGES = (0, 1, 2, 3)
TOKENIZER = build_tokenizer(TokenizerConfig(templates=("zoo",)))
POLICY = PolicyConfig(layers=2, hidden=32, ffn=47, heads=2, kv_heads=1, max_positions=512)  # 47: parts of unequal size
STEPS = 4


def main() -> None:
    """Run all cases of this number of ranks; rank 0 writes what it saw to FOLDER/RANKS.json."""
    rank, ranks, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    os.environ["LOCAL_RANK"] = str(rank)
    store = dist.FileStore(str(folder / f"rendezvous-{ranks}"), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    if rank == 0:
        ray.init(address=sys.argv[4], namespace="interplay", log_to_driver=False)
    seen: dict[str, Any] = {f"zero-{stage}": trained(stage, ranks, folder) for stage in STAGES}
    (folder / f"trained-{ranks}-{rank}").touch()
    while len(list(folder.glob("trained-*"))) < 3:  # all have saved: one rank, and each of two
        time.sleep(0.05)
    seen["resumed"] = {source.name: resumed(source) for source in sorted(folder.glob("saved-*"))}
    seen["refused"] = refused(folder, rank)
    if rank == 0:
        (folder / f"{ranks}.json").write_text(json.dumps(seen))


def config_for(zero_stage: int) -> LearningConfig:
    settings = {"learning_rate": 1e-2, "zero_stage": zero_stage, "weight_decay": 0.01}
    optimizer = OptimizerConfig.model_validate(settings)
    return LearningConfig(optimizer=optimizer, kl=0.1, minibatches=2, microbatch_tokens=64)


def learner_for(zero_stage: int) -> Learner:
    policy = build(POLICY, len(TOKENIZER), 0)
    return Learner(policy, TOKENIZER, config_for(zero_stage).learner_config(STEPS), copy.deepcopy(policy))


def batch_of(step: int) -> Batch:
    """Three groups: one minibatch has a stream fewer than two ranks need."""
    draw = torch.Generator().manual_seed(step)
    task = open_task(config_of("graphs").model_validate({"ops": [2], "max_facts": 4}))
    item = task.item(task.strata()[0], 0, 0, "train")

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, 200, (count,), generator=draw).tolist())

    def rollout(index: int, reward: float) -> Rollout:
        return Rollout(Completion(index, tokens(3 + index), (-5.0,) * (3 + index), "stop", 0, 0), "", None, reward)

    groups = [
        RolloutGroup(number, item, tokens(9), tuple(rollout(i, float(i == number)) for i in range(4)))
        for number in range(3)
    ]
    return pack(groups, config_for(0), 16)


def trained(zero_stage: int, ranks: int, folder: Path) -> dict[str, Any]:
    """Two steps, a publication, a checkpoint, two more steps."""
    learner = learner_for(zero_stage)
    reports = [learner.step(batch_of(step)) for step in range(2)]
    version = learner.publish(2)
    learner.weight_version = 0
    learner.save(folder / f"saved-{ranks}-zero-{zero_stage}")
    reports += [learner.step(batch_of(step)) for step in range(2, STEPS)]
    tensors = {} if version is None else {name: float(t.double().square().sum()) for name, t in fetch(version, 30)}
    return {
        "losses": [r.loss for r in reports],
        "norms": [r.gradient_norm for r in reports],
        "kl": [r.kl for r in reports],
        "predicted": [r.predicted for r in reports],
        "logprobs": [[] if r.logprobs is None else [float(x) for x in r.logprobs] for r in reports],
        "published": tensors,
        "parity": None if version is None else version.parity.logprobs,
    }


def resumed(source: Path) -> dict[str, list[float]]:
    """The last two steps from a checkpoint of some number of ranks, under its own ZeRO stage and under the next."""
    losses = {}
    wrote = int(source.name[-1])
    for zero_stage in (wrote, (wrote + 1) % len(STAGES)):
        learner = learner_for(zero_stage)
        learner.load(source)
        losses[str(zero_stage)] = [learner.step(batch_of(step)).loss for step in range(learner.steps, STEPS)]
    return losses


@contextmanager
def patched(module: Any, name: str, value: Any) -> Iterator[None]:
    real = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, real)


def full(*given: Any, **named: Any) -> None:
    """A disk that takes nothing."""
    raise OSError(errno.ENOSPC, "No space left on device", "disk")


def refused(folder: Path, rank: int) -> dict[str, str]:
    """What rank 0 hears when a disk fails on one rank, the first or the last."""
    learner = learner_for(1)
    last = dist.get_world_size() - 1
    source = folder / f"saved-{dist.get_world_size()}-zero-1"
    heard = {}
    for name, on in (("save", 0), ("save_optimizer", last), ("load_optimizer", last)):
        with patched(learner_module, name, full if rank == on else getattr(learner_module, name)):
            try:
                learner.load(source) if name == "load_optimizer" else learner.save(folder / "full")
            except OSError as error:
                heard[name] = str(error)
    return heard | pretrained(learner, folder, rank)


def pretrained(learner: Learner, folder: Path, rank: int) -> dict[str, str]:
    """A pre-training stage in which the directory of the first checkpoint cannot be made; then that of the last."""
    task = config_of("graphs").model_validate({"ops": [2], "max_facts": 4})
    stage = PretrainConfig(task=task, steps=3, documents_per_step=4, checkpoint_every=1, keep_last=1)
    root = folder / f"checkpoints-{dist.get_world_size()}"
    job = PretrainJob(stage, Lineage(run="r", stage="pretrain", step=0, parent=None, seed=0), root, 0)
    file = folder / f"file-{rank}"
    file.touch()

    class Refusing(CheckpointStore):
        refused = 0

        def draft(self, lineage: Lineage) -> Draft:
            draft = super().draft(lineage)
            if lineage.step == self.refused:
                draft._directory = file / "below a file no disk makes a directory"
            return draft

    heard = {}
    for Refusing.refused in (1, 3):
        learner.steps = 0
        with patched(rank_module, "CheckpointStore", Refusing):
            try:
                run_pretrain(job, learner, lambda progress: None, lambda: False)
                heard[f"pretrain-{Refusing.refused}"] = ",".join(m.id for m in CheckpointStore(root).list())
            except CheckpointWriteError as error:
                heard[f"pretrain-{Refusing.refused}"] = type(error).__name__
    return heard


if __name__ == "__main__":
    main()
