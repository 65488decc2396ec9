"""`serve deploy cluster/serve.yaml` on a head that runs already and asks for a token, as docs/http.md tells it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from actors.checkpoint import CheckpointStore
from cluster import server
from tests.http.conftest import publish
from tests.integration.test_jobs import await_jobs, free_port

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]
BIN = Path(sys.executable).parent
CONFIG = Path(server.__file__).parent / "serve.yaml"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a run and a key file where the config file looks for them; short, for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ip-", dir="/tmp"))
    publish(CheckpointStore(folder / "runs" / "demo" / "checkpoints"), "rl", 1, seed=1)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_config_file_serves_a_run_on_a_cluster_with_a_token(place: Path) -> None:
    key = server.add_key(place / "keys.json", "someone:probe")
    (place / "token").write_text(secrets.token_hex(32))
    (place / "token").chmod(0o600)
    environ = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_TOKEN"} | server.SERVE_ENVIRONMENT
    environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(place / "token")}
    dashboard, port = free_port(), free_port()
    (place / "serve.yaml").write_text(CONFIG.read_text().replace("port: 8000", f"port: {port}"))
    command = [str(BIN / "ray"), "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}"]
    command += [f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={free_port()}"]
    command += [f"--temp-dir={place / 'ray'}", "--object-store-memory=104857600"]
    command += [f"--ray-client-server-port={free_port()}"]
    with (place / "head.log").open("w") as log:
        head = subprocess.Popen(command, cwd=place, env=environ, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{dashboard}"
        await_jobs(address, (place / "token").read_text(), head, place / "head.log")
        deploy = [str(BIN / "serve"), "deploy", "serve.yaml", "--address", address]
        done = subprocess.run(deploy, cwd=place, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        answer = first_answer(f"http://127.0.0.1:{port}", key)
        assert answer["policy"]["checkpoint"] == "rl-1"
    finally:
        head.terminate()
        head.wait(timeout=60)


def first_answer(url: str, key: str) -> dict:
    """A completion, as soon as the proxy, a replica and a model are there."""
    body = {"model": "latest", "prompt": "<question>", "max_tokens": 4}
    deadline = time.monotonic() + 150
    last: object = "nothing"
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        while time.monotonic() < deadline:
            try:
                answer = client.post("/v1/completions", json=body)
            except httpx.TransportError as error:
                last = error
                time.sleep(0.3)
                continue
            if answer.status_code == httpx.codes.OK:
                return answer.json()
            last = answer.text
            time.sleep(0.3)
    pytest.fail(f"no answer: {last}")
