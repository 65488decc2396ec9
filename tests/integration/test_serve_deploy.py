"""`serve deploy cluster/serve/serve.yaml` on a running head that asks for a token, as docs/http.md tells it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from actors.policy.checkpoint import CheckpointStore
from cluster.serve import server
from cluster.serve.keys import add_key
from tests.http.conftest import publish
from tests.integration.heads import free_port, ray_head

pytestmark = [pytest.mark.timeout(1200), pytest.mark.slow]
SERVE = str(Path(sys.executable).parent / "serve")
CONFIG = Path(server.__file__).parent / "serve.yaml"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a run and a key file where the config file looks for them; short, for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ip-", dir="/tmp"))
    publish(CheckpointStore(folder / "runs" / "demo" / "checkpoints"), "rl", 1, seed=1)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_config_file_serves_a_run_on_a_cluster_with_a_token(place: Path) -> None:
    key = add_key(place / "keys.json", "someone:probe")
    port = free_port()
    (place / "serve.yaml").write_text(CONFIG.read_text().replace("port: 8000", f"port: {port}"))
    with ray_head(place, server.SERVE_ENVIRONMENT) as head:
        deploy = [SERVE, "deploy", "serve.yaml", "--address", head.jobs_address]
        environ = os.environ | server.SERVE_ENVIRONMENT | head.environ | {"RAY_AUTH_TOKEN": ""}
        done = subprocess.run(deploy, cwd=place, env=environ, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        answer = first_answer(f"http://127.0.0.1:{port}", key)
        assert answer["policy"]["checkpoint"] == "rl-1"


def first_answer(url: str, key: str) -> dict:
    """A completion, as soon as the proxy, a replica and a model are there."""
    body = {"model": "latest", "prompt": "<question>", "max_tokens": 4}
    deadline = time.monotonic() + 600
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
