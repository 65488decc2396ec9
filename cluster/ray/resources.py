"""Compares the resources that a recipe asks for with those available. Plain arithmetic; knows nothing of Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import takewhile

import psutil

from cluster.errors import NotEnough

GIB = 1024**3
# Host memory of one process (proportional set size, tiny policy), and of the controller and Ray together.
ENGINE_GIB, REWARD_GIB, LEARNER_GIB, RUN_GIB = 1.1, 0.1, 1.4, 1.3
FEWER = (
    "Ask for fewer or smaller workers (fleet.rollout_workers=1 and the like), join a cluster (--address), or "
    "give its autoscaler time to add nodes (--wait 600)."
)
"""What a run can do about too few resources."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Logical CPUs, GPUs and memory in GiB."""

    cpus: float
    gpus: float = 0.0
    memory_gib: float = 0.0


def memory_gib(rollout_workers: int, reward_workers: int, ranks: int, cache_gib: float) -> float:
    """The host memory of a run whose workers all run at once; `cache_gib` is that of one engine's cache on the host."""
    engines = rollout_workers * (ENGINE_GIB + cache_gib)
    return engines + reward_workers * REWARD_GIB + ranks * LEARNER_GIB + RUN_GIB


def of_this_machine() -> Resources:
    """The cores that this process may use, the GPUs that it sees and the memory that is free now."""
    cores = len(os.sched_getaffinity(0))
    return Resources(cores, _visible_gpus(os.environ), psutil.virtual_memory().available / GIB)


def of_ray(totals: Mapping[str, float]) -> Resources:
    """From Ray's own resource names (`ray.cluster_resources()`; memory is in bytes there)."""
    return Resources(totals.get("CPU", 0.0), totals.get("GPU", 0.0), totals.get("memory", 0.0) / GIB)


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU: its memory [bytes], and whether it computes in bfloat16."""

    memory: int
    bfloat16: bool


def smallest_card() -> Card | None:
    """The smallest GPU here; None where there is none. Loads torch, but only where there is one.

    Raises NotEnough where torch cannot use it.
    """
    if not _visible_gpus(os.environ):
        return None
    import torch

    if not torch.cuda.is_available():
        raise NotEnough(
            f"there is a GPU here that torch {torch.__version__} cannot use",
            "Install the CUDA builds (requirements/gpu.txt) and a driver for them (`nvidia-smi` shows its CUDA).",
        )
    cards = [torch.cuda.get_device_properties(card) for card in range(torch.cuda.device_count())]
    return Card(min(card.total_memory for card in cards), all(card.major >= 8 for card in cards))


def short(asked: Resources, available: Resources) -> bool:
    """Whether any resource is short."""
    return any(getattr(asked, f.name) > getattr(available, f.name) + 1e-9 for f in fields(Resources))


def require(asked: Resources, available: Resources, where: str, fix: str = FEWER) -> None:
    """Raises NotEnough, with a table of asked, available and missing, unless everything asked for is available."""
    if short(asked, available):
        raise NotEnough(f"{where} has less than is asked for\n{table(asked, available)}", fix)


def table(asked: Resources, available: Resources) -> str:
    """Asked, available and missing, one resource a line, in plain text."""
    lines = [f"  {'resource':<12}{'asked':>10}{'available':>12}{'missing':>10}"]
    for field in fields(Resources):
        want, have = getattr(asked, field.name), getattr(available, field.name)
        lines.append(f"  {field.name:<12}{want:>10.2f}{have:>12.2f}{max(0.0, want - have):>10.2f}")
    return "\n".join(lines)


def _visible_gpus(environ: Mapping[str, str]) -> int:
    """CUDA devices by their device files: asking the driver would import torch."""
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    present = sum(name.removeprefix("nvidia").isdecimal() for name in os.listdir("/dev"))
    if chosen is None:
        return present
    named = takewhile(lambda device: not device.strip().startswith("-"), filter(str.strip, chosen.split(",")))
    return min(present, len([*named]))  # CUDA sees none from the first on that is no device, such as -1
