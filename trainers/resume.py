"""The optimiser's part of a checkpoint: AdamW's states as safetensors, one file per rank, nothing pickled.

DeepSpeed's own checkpoints are pickles and hold the weights a second time. Under every ZeRO stage the optimiser that
does the arithmetic is a plain torch one on this rank's flat partition, so its parameters (the float32 masters) and
states are all there is to keep. Files belong to one number of ranks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from actors.checkpoint import RESUME

_STEPS: Final = "steps"
_WORLD: Final = "world_size"


class ResumeError(ValueError):
    """A checkpoint that this learner cannot continue from; the message says why."""


def save_optimizer(directory: Path, optimizer: torch.optim.Optimizer, steps: int, rank: int, world_size: int) -> None:
    """Write `resume/optimizer-<rank>.safetensors` below `directory`."""
    (directory / RESUME).mkdir(parents=True, exist_ok=True)
    tensors = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        tensors[f"{number}.master"] = parameter.detach()
        tensors |= {f"{number}.{name}": state for name, state in optimizer.state[parameter].items()}
    tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(tensors, _file(directory, rank), metadata={_STEPS: str(steps), _WORLD: str(world_size)})


def load_optimizer(directory: Path, optimizer: torch.optim.Optimizer, rank: int, world_size: int) -> int:
    """Put masters and states back in place; returns the number of steps taken. Raises ResumeError."""
    file = _file(directory, rank)
    if not file.is_file():
        raise ResumeError(f"{directory.name} has no optimiser for rank {rank}: start a new stage from it instead")
    with safe_open(file, "pt") as stored:
        metadata = stored.metadata()
        if metadata[_WORLD] != str(world_size):
            raise ResumeError(f"{directory.name} was saved by {metadata[_WORLD]} ranks, not {world_size}")
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dict
    for number, parameter in enumerate(_parameters(optimizer)):
        with torch.no_grad():
            parameter.copy_(tensors.pop(f"{number}.master"))
        prefix = f"{number}."
        names = [name for name in tensors if name.startswith(prefix)]
        optimizer.state[parameter] = {
            name.removeprefix(prefix): _like_state(name, tensors.pop(name), parameter) for name in names
        }
    if tensors:
        raise ResumeError(f"{directory.name} holds optimiser states of another model: {sorted(tensors)[:3]}")
    return int(metadata[_STEPS])


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _like_state(name: str, tensor: Tensor, parameter: Tensor) -> Tensor:
    return tensor if name.endswith(".step") and parameter.device.type == "cpu" else tensor.to(parameter.device)


def _file(directory: Path, rank: int) -> Path:
    return directory / RESUME / f"optimizer-{rank}.safetensors"
