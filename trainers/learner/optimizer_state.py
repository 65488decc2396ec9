"""The optimiser's part of a checkpoint: AdamW's states as safetensors, one file per rank, nothing pickled.

DeepSpeed's own checkpoints are pickles and hold the weights a second time. Under every ZeRO stage a plain torch
optimiser works on this rank's part of the float32 master weights, so only these and their moments are stored. They are
stored by the name of the parameter and the range of its values, so that another number of ranks or another ZeRO stage,
which cuts the parameters elsewhere, can assemble its own parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from actors.policy.checkpoint import RESUME
from verifier.errors import UserError

_STEPS: Final = "steps"
_UPDATES: Final = "updates"
_MASTER: Final = "master"
_MOMENTS: Final = ("exp_avg", "exp_avg_sq")


class ResumeError(UserError):
    """A checkpoint that this learner cannot continue from; the message says why."""

    fix = "Resume with the learner that saved it, or start a new run from it with a `base` stage."


@dataclass(frozen=True, slots=True)
class Part:
    """The values [start, start + count) of a flattened parameter; in `master` they start at `offset`."""

    name: str
    start: int
    count: int
    master: Tensor
    offset: int

    def of(self, tensor: Tensor) -> Tensor:
        """This part of a tensor with the layout of the master weights, as a view."""
        return tensor.detach().view(-1)[self.offset : self.offset + self.count]


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """One rank's optimiser and the parts of the parameters that it updates."""

    optimizer: torch.optim.Optimizer
    parts: Sequence[Part]
    rank: int


def parts_of(engine: Any, parameters: Iterable[tuple[str, Tensor]], rank: int, zero_stage: int) -> list[Part]:
    """The parts of the named parameters that a DeepSpeed engine's optimiser holds on this rank."""
    made = [_part(engine.optimizer, name, parameter, rank, zero_stage) for name, parameter in parameters]
    return [part for part in made if part is not None]


def save_optimizer(directory: Path, state: OptimizerState, steps: int) -> None:
    """Write `resume/optimizer-<rank>.safetensors` below `directory`."""
    (directory / RESUME).mkdir(parents=True, exist_ok=True)
    tensors, updates = {}, 0
    for part in state.parts:
        held = state.optimizer.state.get(part.master, {})
        updates = int(held.get("step", updates))
        for kind, tensor in ((_MASTER, part.master), *((kind, held[kind]) for kind in _MOMENTS if kind in held)):
            tensors[f"{part.name}/{part.start}/{kind}"] = part.of(tensor).cpu().clone()
    metadata = {_STEPS: str(steps), _UPDATES: str(updates)}
    save_file(tensors, directory / RESUME / f"optimizer-{state.rank}.safetensors", metadata=metadata)


def load_optimizer(directory: Path, state: OptimizerState) -> int:
    """Restore master weights and moments; returns the number of steps taken. Raises ResumeError.

    The files may have been written by any number of ranks under any ZeRO stage.
    """
    stored = _Stored(directory)
    for part in state.parts:
        stored.fill(part, _MASTER, part.of(part.master))
        held = _held(state.optimizer, part.master, stored.updates)
        for kind in _MOMENTS if stored.updates else ():
            stored.fill(part, kind, part.of(held[kind]))
    return stored.steps


class _Stored:
    """The optimiser files of a checkpoint, read piece by piece."""

    def __init__(self, directory: Path) -> None:
        self._name = directory.name
        self._pieces: dict[tuple[str, str], list[tuple[int, Any, str]]] = {}
        self.steps = self.updates = 0
        files = sorted((directory / RESUME).glob("optimizer-*.safetensors"))
        if not files:
            raise ResumeError(f"{self._name} has no optimiser: start a new stage from it instead")
        for path in files:
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            file = safe_open(path, "pt").__enter__()
            metadata = file.metadata()
            self.steps = int(metadata[_STEPS])
            self.updates = max(self.updates, int(metadata[_UPDATES]))  # a rank may hold nothing
            for key in file.keys():  # noqa: SIM118 - not a dict
                name, start, kind = key.split("/")
                self._pieces.setdefault((name, kind), []).append((int(start), file, key))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ResumeError(
                f"{self._name}: {path.name} holds no optimiser state that this version can read"
            ) from error

    def fill(self, part: Part, kind: str, target: Tensor) -> None:
        """Copy the stored values of a part into `target`. Raises ResumeError unless all are there."""
        filled = 0
        for start, file, key in self._pieces.get((part.name, kind), ()):
            piece = file.get_slice(key)
            (length,) = piece.get_shape()
            first, last = max(start, part.start), min(start + length, part.start + part.count)
            if first < last:
                target[first - part.start : last - part.start] = piece[first - start : last - start]
                filled += last - first
        if filled != part.count:
            raise ResumeError(f"{self._name} holds {filled} of {part.count} values of {part.name} ({kind})")


def _part(optimizer: Any, name: str, parameter: Any, rank: int, zero_stage: int) -> Part | None:
    """The place of this rank's part of a parameter in DeepSpeed; None if the parameter is wholly on other ranks."""
    if zero_stage == 0:  # every rank updates everything: one copy is enough
        return Part(name, 0, parameter.numel(), parameter, 0)
    if zero_stage == 3:
        group, offset, length = optimizer.grad_position[optimizer.get_param_id(parameter)]
        start = rank * length
        count = min(length, parameter.ds_numel - start)  # the last part is padded
        return Part(name, start, count, optimizer.fp32_partitioned_groups_flat[group], offset) if count > 0 else None
    mapping = parameter._hp_mapping
    if mapping is None:
        return None
    here, there = mapping.lp_fragment_address, mapping.hp_fragment_address
    master = optimizer.single_partition_of_fp32_groups[mapping.param_group_index]
    return Part(name, here.start, here.numel, master, there.start)


def _held(optimizer: torch.optim.Optimizer, master: Tensor, updates: int) -> dict[str, Tensor]:
    """The optimiser's state of a master tensor after `updates` updates, to be filled; empty before the first."""
    if updates == 0:
        optimizer.state.pop(master, None)
        return {}
    held = optimizer.state[master]
    for kind in _MOMENTS:
        held.setdefault(kind, torch.zeros_like(master))
    held["step"] = torch.tensor(float(updates), dtype=torch.float32, device=master.device)
    return held
