"""`interplay serve` as a process: what a person starts, asks, and stops with SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from actors.policy.checkpoint import CheckpointStore
from tests.http.conftest import publish

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]
GRACE_S = 20.0


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@contextmanager
def serving(run_dir: Path, log: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The command on one checkpoint, and a client with the key that it printed, once it is ready."""
    command = [sys.executable, "-m", "cluster", "serve", str(run_dir), "--port", str(free_port())]
    environ = {k: v for k, v in os.environ.items() if k not in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE")}
    with log.open("w") as errors:
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    try:
        said = [process.stdout.readline() for _ in range(3)]
        found = re.search(r"at (http://\S+)\nkey for this start \(admin\): (\S+)\n", "".join(said))
        assert found, f"{said} {log.read_text()}"
        with httpx.Client(base_url=found[1], headers={"authorization": f"Bearer {found[2]}"}, timeout=60) as client:
            await_ready(client, log)
            yield process, client
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def await_ready(client: httpx.Client, log: Path, within_s: float = 120.0) -> None:
    """Until a model answers. While Serve replaces a replica nobody listens on its port."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        threading.Event().wait(0.3)
    pytest.fail(f"no model became ready: {log.read_text()}")


def replica_of(process: subprocess.Popen[str]) -> psutil.Process:
    family = psutil.Process(process.pid).children(recursive=True)
    (replica,) = [child for child in family if "".join(child.cmdline()[:1]).startswith("ray::ServeReplica")]
    return replica


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def leave_early(client: httpx.Client, stream: bool) -> None:
    """Ask for much and go after a moment; the place must be free, and counted once, a second later."""
    before = metric(client, "interplay_aborted_total")
    body = {"model": "latest", "prompt": "<question>", "max_tokens": 900, "n": 32, "stream": stream}
    with suppress(httpx.ReadTimeout), client.stream("POST", "/v1/completions", json=body, timeout=0.5) as answer:
        next(answer.iter_bytes())
    left = time.monotonic()
    while metric(client, "interplay_aborted_total") == before or metric(client, "interplay_sequences_running") > 0:
        assert time.monotonic() < left + 5, "the place is not free"
    assert metric(client, "interplay_aborted_total") == before + 1


def test_a_killed_replica_comes_back_and_sigterm_ends_everything_in_order(tmp_path: Path):
    """Between the two, clients that leave free their places. At SIGTERM newcomers are refused, the stream is finished,
    and no process stays."""
    publish(CheckpointStore(tmp_path / "demo" / "checkpoints"), "rl", 1, seed=1)
    with serving(tmp_path / "demo", tmp_path / "log") as (process, client):
        replica = replica_of(process)
        replica.kill()
        replica.wait()
        # The kernel keeps the connection that the client left open for 60 s: the port is not to wait for it.
        await_ready(client, tmp_path / "log", within_s=50.0)
        assert replica_of(process) != replica
        assert len(client.get("/healthz").headers.get_list("x-request-id")) == 1
        leave_early(client, stream=True)
        leave_early(client, stream=False)
        family = psutil.Process(process.pid).children(recursive=True)
        assert any("raylet" in child.name() for child in family)
        body = {"model": "latest", "prompt": "<question>", "max_tokens": 900, "n": 24, "stream": True}
        with client.stream("POST", "/v1/completions", json=body) as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            process.send_signal(signal.SIGTERM)
            told = time.monotonic()
            refusals = []
            while not refusals and time.monotonic() < told + 10:
                late = client.post("/v1/completions", json={"model": "latest", "prompt": "a", "max_tokens": 1})
                refusals = [late] if late.status_code == 503 else []
            ready = client.get("/readyz")
            text += "".join(pieces)
        assert text.endswith("data: [DONE]\n\n"), text[-300:]
        assert refusals[0].json()["error"]["code"] == "draining"
        assert int(refusals[0].headers["retry-after"]) >= 1
        assert ready.status_code == 503
        assert process.wait(timeout=GRACE_S + 60) == 0, (tmp_path / "log").read_text()
    _, left = psutil.wait_procs(family, timeout=10)
    assert left == []
