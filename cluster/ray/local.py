"""One Ray on this machine for the length of a block: started, and ended with every process of it.

Knows nothing of runs or recipes. Token authentication is the caller's to switch on, before (`cluster.ray.runtime`).
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray

NAMESPACE = "interplay"
# Sockets of Ray lie about 75 characters below its temporary folder, and a socket's path ends at 107 bytes.
LONGEST_TEMPORARY = 30
OBJECT_STORE_BYTES = 1024**3
SHARED_MEMORY = "/dev/shm"  # noqa: S108
SHUTDOWN_GRACE_S = 5.0
# Ray gives its own processes 20 to 30 seconds to come up, fixed in its code, and a loaded machine may need more.
START_ATTEMPTS = 4
SLOW_START = ("timed out during startup", "Failed to start GCS")


@dataclass(frozen=True, slots=True)
class LocalRay:
    """A Ray that is up: the address for other processes of this machine, and its temporary folder."""

    address: str
    temporary: Path


@contextmanager
def local_ray(
    cpus: int, gpus: int, environment: Mapping[str, str], object_store_bytes: int | None = None
) -> Generator[LocalRay]:
    """Start Ray with so many logical CPUs and GPUs; every worker process gets `environment`.

    However the block ends, none of its processes outlives it, and its temporary folder goes.
    """
    temporary = _short_temporary()
    before = {p.pid for p in psutil.Process().children()}
    try:
        address = _start(temporary, cpus, gpus, environment, object_store_bytes or _fitting_store())
        yield LocalRay(address, temporary)
    finally:
        mine = _processes_under(temporary, before)
        ray.shutdown()
        _end(mine)
        shutil.rmtree(temporary, ignore_errors=True)


def _start(temporary: Path, cpus: int, gpus: int, environment: Mapping[str, str], store_bytes: int) -> str:
    for attempt in range(START_ATTEMPTS):
        before = {p.pid for p in psutil.Process().children()}
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                num_gpus=gpus,
                namespace=NAMESPACE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=store_bytes,
                _temp_dir=str(temporary),
                runtime_env={"env_vars": dict(environment)},
            )
        except Exception as error:  # Ray raises the bare class here
            ray.shutdown()
            _end(_processes_under(temporary, before))
            if attempt + 1 == START_ATTEMPTS or not any(words in str(error) for words in SLOW_START):
                raise
        else:
            return ray.get_runtime_context().gcs_address
    raise AssertionError("the last attempt returns or raises")


def _short_temporary() -> Path:
    base = tempfile.gettempdir()
    # A long TMPDIR would cost Ray its sockets.
    return Path(tempfile.mkdtemp(prefix="ip-", dir=base if len(base) <= LONGEST_TEMPORARY else "/tmp"))  # noqa: S108


def _fitting_store() -> int:
    """At most 1 GiB, and no more than shared memory holds: beyond it Ray falls back to the disk."""
    shared = shutil.disk_usage(SHARED_MEMORY).free if os.path.isdir(SHARED_MEMORY) else OBJECT_STORE_BYTES
    return max(100 * 1024**2, min(OBJECT_STORE_BYTES, int(shared * 0.8)))


def _processes_under(temporary: Path, before: set[int]) -> list[psutil.Process]:
    """Our new child processes that name Ray's temporary folder: the ones that hold the rest of this Ray."""
    mine = psutil.Process().children()
    return [p for p in mine if p.pid not in before and any(str(temporary) in part for part in _command(p))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return []


def _end(processes: list[psutil.Process]) -> None:
    """Wait for processes of this Ray that have been told to stop, then kill what is left, and its children."""
    _, alive = psutil.wait_procs(processes, timeout=SHUTDOWN_GRACE_S)
    for process in alive:
        for member in (*process.children(recursive=True), process):
            member.kill()
