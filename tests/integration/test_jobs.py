"""Jobs against a real head with token authentication on, started apart from the session's Ray."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cluster import jobs
from cluster.errors import ClusterUnreachable
from cluster.shipping import PACKAGES, SHIPPED_RECIPE, stage

pytestmark = pytest.mark.timeout(180)
RAY = str(Path(sys.executable).parent / "ray")


@dataclass(frozen=True, slots=True)
class Head:
    jobs_address: str
    gcs_address: str
    token: str
    token_path: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="ip-", dir="/tmp"))
    token_path = folder / "token"
    token_path.write_text(secrets.token_hex(32))
    token_path.chmod(0o600)
    gcs, dashboard = free_port(), free_port()
    environ = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_TOKEN"} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
    }
    command = [RAY, "start", "--head", "--block", f"--port={gcs}", f"--dashboard-port={dashboard}", "--num-cpus=2"]
    # By default the agent that starts jobs listens on one fixed port, which another Ray of this machine may hold.
    command += [f"--dashboard-agent-listen-port={free_port()}"]
    command += [f"--temp-dir={folder}", "--object-store-memory=104857600", f"--ray-client-server-port={free_port()}"]
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    address = f"http://127.0.0.1:{dashboard}"
    await_jobs(address, token_path.read_text(), process, folder / "head.log")
    yield Head(address, f"127.0.0.1:{gcs}", token_path.read_text(), token_path)
    process.terminate()
    process.wait(timeout=30)
    shutil.rmtree(folder, ignore_errors=True)


def await_jobs(address: str, token: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the job API answers: it comes up seconds after the head itself."""
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        try:
            listing = httpx.get(f"{address}/api/jobs/", headers={"Authorization": f"Bearer {token}"}, timeout=5)
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        if listing.status_code == httpx.codes.OK:
            return
        time.sleep(0.2)
    pytest.fail(f"the head did not come up:\n{log.read_text()}")


@pytest.fixture
def server(head: Head) -> jobs.JobServer:
    return jobs.reach(head.jobs_address, head.environ)


def test_a_job_runs_our_packages_on_the_cluster_and_its_log_is_followed(
    server: jobs.JobServer, head: Head, tmp_path: Path
) -> None:
    stage(tmp_path)
    code = (
        "import os, ray, verifier.problem; ray.init(); "
        "print('packages from', verifier.__file__); print('cpus', ray.cluster_resources()['CPU']); "
        "print('home of caches', os.environ['XDG_CACHE_HOME'])"
    )
    job_id = jobs.submit(server, [sys.executable, "-c", code], tmp_path, "job-that-looks")
    log: list[str] = []
    assert jobs.follow(server, job_id, log.append) == "SUCCEEDED"
    text = "".join(log)
    assert "working_dir_files" in text, "the packages came from the checkout, not from what was shipped"
    assert "cpus 2.0" in text
    assert head.token not in text


def test_a_failing_job_is_reported_as_failed(server: jobs.JobServer, tmp_path: Path) -> None:
    job_id = jobs.submit(server, [sys.executable, "-c", "raise SystemExit(3)"], tmp_path, "job-that-fails")
    assert jobs.follow(server, job_id, lambda _: None) == "FAILED"


def test_stopping_a_job_lets_it_save_first(server: jobs.JobServer, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    work = tmp_path / "work"
    work.mkdir()
    code = (
        "import pathlib, signal, sys, time\n"
        f"def save(*_): time.sleep(4); pathlib.Path({str(saved)!r}).touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "print('up', flush=True)\n"
        "time.sleep(120)"
    )
    job_id = jobs.submit(server, [sys.executable, "-c", code], work, "job-to-stop")
    deadline = time.monotonic() + 60
    client = server.client()
    while "up" not in client.get_job_logs(job_id) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert jobs.stop(server, job_id) == "STOPPED"
    assert saved.exists(), "the job was killed before it could save"


def test_the_command_submits_a_recipe_and_says_how_it_ended(head: Head) -> None:
    """A recipe that does not exist fails on the cluster within our own command line, with its own message."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster", "submit", "no-such-recipe", "--address", head.jobs_address],
        env=os.environ | head.environ | {"RAY_AUTH_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "FAILED" in done.stderr
    assert "no-such-recipe" in done.stdout


def test_an_unknown_job_is_one_clear_line(server: jobs.JobServer) -> None:
    with pytest.raises(jobs.JobError, match="knows no job nope"):
        jobs.stop(server, "nope")


def test_without_a_token_nothing_is_sent(head: Head, tmp_path: Path) -> None:
    assert httpx.get(f"{head.jobs_address}/api/jobs/").status_code == 401
    with pytest.raises(ClusterUnreachable, match="wants a token"):
        jobs.reach(head.jobs_address, {"HOME": str(tmp_path)})


def test_a_wrong_token_is_refused(head: Head) -> None:
    with pytest.raises(ClusterUnreachable, match="refuses our token"):
        jobs.reach(head.jobs_address, {"RAY_AUTH_TOKEN": "ab" * 32})


def test_a_dead_address_is_one_clear_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cluster", "stop", "job", "--address", f"127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no Ray answers at http://127.0.0.1:")
    assert " fix: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recipe_file_travels_with_the_packages(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\n")
    into = tmp_path / "into"
    into.mkdir()
    assert stage(into, str(recipe)) == SHIPPED_RECIPE
    assert (into / SHIPPED_RECIPE).read_text() == "name: mine\n"
    assert sorted(p.name for p in into.iterdir() if p.is_dir()) == sorted(PACKAGES)
    assert stage(tmp_path / "other", "tiny-cpu") == "tiny-cpu"
