"""One Ray on this machine for the length of a block: on the loopback interface, in a folder of mode 0700.

It knows nothing of runs or recipes. The caller switches token authentication on before (`cluster.ray.runtime`). Ray's
processes belong to `cluster.ray.head`, which outlives this process by a few seconds to end them.
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import ray
from ray._private import ray_constants

from cluster.ray import head
from verifier.errors import Failure

NAMESPACE: Final = "interplay"
# Sockets of Ray lie 66 characters below our folder of 12, and a socket's path ends at 107 bytes.
LONGEST_TEMPORARY: Final = 28
OBJECT_STORE_BYTES: Final = 1024**3
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108
START_TIMEOUT_S: Final = 240.0
END_TIMEOUT_S: Final = head.RAYLET_GRACE_S + head.KILL_S + 5.0


class RayNotStarted(Failure):
    """Ray did not come up on this machine; the message is Ray's own."""


@contextmanager
def ray_folder() -> Generator[Path]:
    """A new folder for the sockets, the logs and the token of one Ray, private to this user and removed at the end.

    Ray makes its own folder readable by everybody, whatever the umask; this one, around it, has mode 0700.
    """
    base = tempfile.gettempdir()
    # With a long TMPDIR the paths of Ray's sockets would be too long.
    folder = Path(tempfile.mkdtemp(prefix="ip-", dir=base if len(base) <= LONGEST_TEMPORARY else "/tmp"))  # noqa: S108
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def local_ray(
    folder: Path, cpus: int, gpus: int, environment: Mapping[str, str], object_store_bytes: int | None = None
) -> Generator[str]:
    """Start Ray in `folder` with so many logical CPUs and GPUs, and yield its address.

    Every worker process gets `environment`. However the block or this process ends, Ray's processes end within seconds.
    """
    settings = {"folder": str(folder), "cpus": cpus, "gpus": gpus}
    settings["object_store_bytes"] = object_store_bytes or _fitting_store()
    keep_to_loopback()
    process = _spawn(settings)
    try:
        address = _address(process)
        # What a process leaves there when it is killed goes with the folder: sockets, and copies of checkpoints.
        temporary = folder / "tmp"
        temporary.mkdir()
        join(address, {**environment, "TMPDIR": str(temporary)})
        yield address
    finally:
        ray.shutdown()
        _end(process)


def join(address: str, environment: Mapping[str, str]) -> None:
    """Connect this process to the Ray at `address`; its worker processes get `environment`."""
    ray.init(
        address=address,
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": dict(environment)},
    )


def keep_to_loopback() -> None:
    """Make Ray keep 127.0.0.1 in this process and its children, where it would use the machine's own address.

    This is Ray's switch for systems without clusters: with it Ray listens on the loopback interface only.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # Ray read the variable at its import


def _spawn(settings: Mapping[str, object]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", str(Path(head.__file__)), json.dumps(settings)]
    return subprocess.Popen(  # noqa: S603 - our own file, by this interpreter
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _address(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    line = process.stdout.readline() if ready else b""
    answer = json.loads(line or '{"error": "no answer"}')
    if "error" in answer:
        raise RayNotStarted(f"Ray did not start on this machine: {answer['error']}")
    return answer["address"]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the head to end, and wait until all processes of Ray have ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_TIMEOUT_S)


def _fitting_store() -> int:
    """At most 1 GiB, and no more than fits into shared memory; beyond that Ray would fall back to the disk."""
    shared = shutil.disk_usage(SHARED_MEMORY).free if os.path.isdir(SHARED_MEMORY) else OBJECT_STORE_BYTES
    return max(100 * 1024**2, min(OBJECT_STORE_BYTES, int(shared * 0.8)))
