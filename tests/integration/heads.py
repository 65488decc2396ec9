"""A real Ray head with token authentication on, started as `ray start` starts one, apart from the session's Ray."""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from ray._private import ray_constants

RAY = str(Path(sys.executable).parent / "ray")


@dataclass(frozen=True, slots=True)
class Head:
    jobs_address: str
    gcs_address: str
    token_path: Path

    @property
    def token(self) -> str:
        return self.token_path.read_text()

    @property
    def environ(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)}


def free_port() -> int:
    """A port that nobody has, for a process that takes it seconds later.

    None of those that the kernel gives to whoever asks for any (from 32768 on), nor of those of Ray's workers (to
    19999): of them another process might have this one by then.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def autoscaler(gcs_address: str) -> dict[str, Any]:
    """Ray's own autoscaler over nodes that are processes here: none at first, one of two CPUs when somebody asks."""
    lists = ["cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands", "setup_commands"]
    lists += [f"{node}_{what}_commands" for node in ("head", "worker") for what in ("setup", "start_ray")]
    node = {"resources": {"CPU": 2, "object_store_memory": 100_000_000}, "node_config": {}, "max_workers": 1}
    return {name: [] for name in lists} | {
        "cluster_name": "here",
        "max_workers": 1,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 1,
        "provider": {"type": "fake_multinode", "gcs_address": gcs_address, "disable_node_updaters": True},
        "available_node_types": {"head": {"resources": {}, "node_config": {}, "max_workers": 0}, "node": node},
        "head_node_type": "head",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    }


@contextmanager
def ray_head(folder: Path, environ: Mapping[str, str] | None = None, autoscaling: bool = False) -> Iterator[Head]:
    """A head of two CPUs that works in `folder`, which has a short path, for Ray's sockets.

    With `autoscaling` the head itself has no CPU, and a node comes up when one is asked for.
    """
    token_path = folder / "token"
    token_path.write_text(secrets.token_hex(32))
    token_path.chmod(0o600)
    gcs, dashboard = free_port(), free_port()
    head = Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}", token_path)
    # A head of somebody else has neither the session's token nor its setting that keeps Ray to the loopback interface.
    ours = {"RAY_AUTH_TOKEN", ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    command = [RAY, "start", "--head", "--block", f"--port={gcs}", f"--dashboard-port={dashboard}"]
    command += [f"--num-cpus={0 if autoscaling else 2}"]
    # By default the agent that starts jobs listens on one fixed port, which another Ray of this machine may hold.
    command += [f"--dashboard-agent-listen-port={free_port()}"]
    command += [f"--temp-dir={folder / 'ray'}", "--object-store-memory=104857600"]
    command += [f"--ray-client-server-port={free_port()}"]
    if autoscaling:
        (folder / "autoscaler.json").write_text(json.dumps(autoscaler(head.gcs_address)))
        command += [f"--autoscaling-config={folder / 'autoscaler.json'}"]
        inherited |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=inherited | dict(environ or {}) | head.environ,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_jobs(head, process, folder / "head.log")
        yield head
    finally:
        # Asked to end, a head takes half a minute; nothing of it is needed any more.
        members = psutil.Process(process.pid).children(recursive=True)
        for member in (process, *members):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(timeout=60)
        psutil.wait_procs(members, timeout=60)


def _await_jobs(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the job API answers: it comes up seconds after the head itself."""
    deadline, pause = time.monotonic() + 300, threading.Event()
    while process.poll() is None and time.monotonic() < deadline:
        try:
            asked = {"Authorization": f"Bearer {head.token}"}
            if httpx.get(f"{head.jobs_address}/api/jobs/", headers=asked, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        pause.wait(0.2)
    pytest.fail(f"the head did not come up:\n{log.read_text()}")
