"""The optimiser's part of a checkpoint: AdamW's states as safetensors, one file per rank, nothing pickled.

DeepSpeed's own checkpoints are pickles and hold the weights a second time. Under every ZeRO stage the optimiser that
does the arithmetic is a plain torch one on this rank's flat partition, so its parameters (the float32 masters) and
states are all there is to keep. Files belong to one number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from actors.policy.checkpoint import RESUME

_STEPS: Final = "steps"
_WORLD: Final = "world_size"


class ResumeError(ValueError):
    """A checkpoint that this learner cannot continue from; the message says why."""


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """What one rank's optimiser works on: the states of its `masters`, the float32 tensors that it updates."""

    optimizer: torch.optim.Optimizer
    masters: Sequence[Tensor]
    rank: int
    world_size: int


def save_optimizer(directory: Path, held: OptimizerState, steps: int) -> None:
    """Write `resume/optimizer-<rank>.safetensors` below `directory`."""
    (directory / RESUME).mkdir(parents=True, exist_ok=True)
    tensors = {}
    for number, master in enumerate(held.masters):
        tensors[f"{number}.master"] = master.detach()
        tensors |= {f"{number}.{name}": state for name, state in held.optimizer.state[master].items()}
    tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(tensors, _file(directory, held.rank), metadata={_STEPS: str(steps), _WORLD: str(held.world_size)})


def load_optimizer(directory: Path, held: OptimizerState) -> int:
    """Put masters and states back in place; returns the number of steps taken. Raises ResumeError."""
    file = _file(directory, held.rank)
    if not file.is_file():
        raise ResumeError(f"{directory.name} has no optimiser for rank {held.rank}: start a new stage from it instead")
    with safe_open(file, "pt") as stored:
        metadata = stored.metadata()
        if metadata[_WORLD] != str(held.world_size):
            raise ResumeError(f"{directory.name} was saved by {metadata[_WORLD]} ranks, not {held.world_size}")
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dict
    for number, master in enumerate(held.masters):
        with torch.no_grad():
            master.copy_(tensors.pop(f"{number}.master"))
        prefix = f"{number}."
        names = [name for name in tensors if name.startswith(prefix)]
        held.optimizer.state[master] = {
            name.removeprefix(prefix): tensors.pop(name).to(master.device) for name in names
        }
    if tensors:
        raise ResumeError(f"{directory.name} holds optimiser states of another model: {sorted(tensors)[:3]}")
    return int(metadata[_STEPS])


def _file(directory: Path, rank: int) -> Path:
    return directory / RESUME / f"optimizer-{rank}.safetensors"
