"""DeepSpeed as this project imports it, and the process group of a learner's ranks.

DeepSpeed reads the environment while it is imported, so it is imported only here, after the variables are set.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

import deepspeed

# On the CPU DeepSpeed would compile a C++ extension for its collectives at start, which takes a minute and needs a
# compiler. Gloo does the same work.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

_COLLECTIVE_TIMEOUT: Final = timedelta(minutes=30)  # a rank may wait while rank 0 writes a checkpoint

__all__ = ["deepspeed", "form_group", "form_group_of_one", "join_meeting", "open_meeting"]


def backend_of(accelerator: str) -> str:
    """The back end of torch.distributed for DeepSpeed's name of the accelerator; gloo moves no CUDA tensors."""
    return "nccl" if accelerator == "cuda" else "gloo"


def open_meeting(host: str, ranks: int) -> tuple[dist.Store, tuple[str, int]]:
    """Where the ranks of a group find each other, and its address: on a free port of `host` alone.

    A single rank meets nobody, so it needs no port.
    """
    if ranks == 1:
        return dist.HashStore(), (host, 0)
    listener = socket.create_server((host, 0))
    port = listener.getsockname()[1]
    store = dist.TCPStore(host, port, ranks, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    return store, (host, port)


def join_meeting(address: tuple[str, int], ranks: int) -> dist.Store:
    """The meeting that rank 0 has opened, for another rank."""
    return dist.TCPStore(*address, ranks, is_master=False)


def form_group(store: dist.Store, rank: int, ranks: int) -> None:
    """Make this process a rank of the group that meets in `store`; it sees no GPU but its own."""
    os.environ.setdefault("LOCAL_RANK", "0")
    backend = backend_of(os.environ["DS_ACCELERATOR"])
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=_COLLECTIVE_TIMEOUT)


def form_group_of_one() -> None:
    """A group of this process alone, kept in memory, unless the process is in a group already.

    It lasts as long as the process: DeepSpeed keeps groups derived from it and does not survive its end.
    """
    if not dist.is_initialized():
        form_group(dist.HashStore(), 0, 1)
