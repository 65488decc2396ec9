"""DeepSpeed as this project imports it, and the process group of a learner that runs outside Ray Train.

Inside Ray Train, Ray makes the process group of the workers. DeepSpeed reads the environment while it is imported, so
it is imported only here, after the variables are set.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

import deepspeed

# On the CPU DeepSpeed would compile a C++ extension for its collectives at start, which takes a minute and needs a
# compiler. Gloo does the same work.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

__all__ = ["deepspeed", "form_group_of_one"]


def backend_of(accelerator: str) -> str:
    """The back end of torch.distributed for DeepSpeed's name of the accelerator; gloo moves no CUDA tensors."""
    return "nccl" if accelerator == "cuda" else "gloo"


def form_group_of_one() -> None:
    """A group of this process alone, kept in memory, unless the process is in a group already.

    It lasts as long as the process: DeepSpeed keeps groups derived from it and does not survive its end.
    """
    if not dist.is_initialized():
        os.environ.setdefault("LOCAL_RANK", "0")
        backend = backend_of(os.environ["DS_ACCELERATOR"])
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
