"""A Ray of our own: authenticated, private, found again by its run folder, and gone when its command is gone.

Each test runs in processes of its own, because this session has a Ray already.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import ray

from cluster.errors import ClusterUnreachable, NotEnough, UnsafeCluster
from cluster.ray.resources import Resources
from cluster.ray.runtime import INSECURE_FLAG, connected, is_loopback, require_safe, running
from tests.integration.heads import ray_head

pytestmark = pytest.mark.timeout(900)

HOLD = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in its background ignores it
from cluster.ray.resources import Resources
from cluster.ray.runtime import running
with running(Path(sys.argv[1]), Resources(1)):
    print("up", flush=True)
    time.sleep(1800)
"""
LOOK = """
import sys
from pathlib import Path
import ray
from cluster.ray.runtime import connected
with connected(Path(sys.argv[1])) as record:
    print(int(ray.cluster_resources()["CPU"]), record.pid)
"""

JOIN = """
import sys
from pathlib import Path
import ray
from cluster.errors import NotEnough
from cluster.ray.resources import Resources
from cluster.ray.runtime import running
try:
    with running(Path(sys.argv[1]), Resources(2), address=sys.argv[2], wait_s=float(sys.argv[3])):
        print(int(ray.cluster_resources()["CPU"]), "CPUs")
except NotEnough as error:
    print(error, error.fix)
"""


def environ() -> dict[str, str]:
    """Without the session's own token, so that the runtime has to bring its own."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH") and k != "RAY_ADDRESS"}


def descendants(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


@dataclass(frozen=True, slots=True)
class Held:
    """A command that holds a Ray of its own, up and waiting, with its run folder."""

    run_dir: Path
    command: subprocess.Popen[str]


@contextlib.contextmanager
def holding(run_dir: Path) -> Iterator[Held]:
    command = [sys.executable, "-c", HOLD, str(run_dir)]
    with subprocess.Popen(command, env=environ(), stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield Held(run_dir, process)
        process.kill()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    """One for a test that ends it."""
    with holding(tmp_path) as held:
        yield held


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    """One for all tests that only look at it, and for the last of them."""
    with holding(tmp_path_factory.mktemp("shared")) as held:
        yield held


def leftovers(processes: list[psutil.Process], timeout_s: float = 60) -> list[str]:
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    return [" ".join(p.cmdline())[:80] for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def token_of(run_dir: Path) -> Path:
    return Path(json.loads((run_dir / "cluster.json").read_text())["token_path"])


def listening(command: subprocess.Popen[str]) -> list[Any]:
    """The addresses at which a command and what it started listen; a process that ends meanwhile has none."""
    found: list[Any] = []
    for process in descendants(psutil.Process(command.pid)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    return found


def _readable_by_nobody(path: Path) -> bool:
    """Whether the user `nobody` can see `path`; a child takes that user on, which only root can do."""
    if os.getuid() != 0:
        pytest.skip("only root can try what the user nobody may do")
    trial = f"import os; os.setgid(65534); os.setuid(65534); os.stat({str(path)!r})"
    return subprocess.run([sys.executable, "-S", "-c", trial], capture_output=True, timeout=60).returncode == 0


def test_a_run_is_private_and_can_be_joined(shared: Held) -> None:
    record = json.loads((shared.run_dir / "cluster.json").read_text())
    for secret in (shared.run_dir / "cluster.json", token_of(shared.run_dir)):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    look = [sys.executable, "-c", LOOK, str(shared.run_dir)]
    looked = subprocess.run(look, env=environ(), capture_output=True, text=True, timeout=400)
    assert looked.stdout.split() == [str(len(os.sched_getaffinity(0))), str(record["pid"])], looked.stderr


def test_no_worker_waits_for_work_that_never_comes(shared: Held) -> None:
    titles: list[str] = []
    for process in descendants(psutil.Process(shared.command.pid)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            titles.append(" ".join(process.cmdline()).rstrip())
    assert any(title.startswith("ray::") for title in titles)
    assert "ray::IDLE" not in titles


def test_nobody_else_on_this_machine_gets_at_a_ray_of_ours(shared: Held) -> None:
    """Its folder lets no other user in, it listens on the loopback interface only, and on none of Ray's own ports."""
    folder = token_of(shared.run_dir).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert any(path.is_socket() for path in folder.rglob("*"))
    assert max(len(str(path)) for path in folder.rglob("*") if path.is_socket()) <= 107
    addresses = listening(shared.command)
    assert addresses
    assert {address.ip.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
    assert not {address.port for address in addresses} & {6379, 8080, 8265, 10001, 44217, 44227, 52365}
    assert _readable_by_nobody(folder.parent)
    for path in (folder / "token", folder / "r"):
        assert not _readable_by_nobody(path)


def test_nobody_reads_numbers_of_a_ray_of_ours_without_its_token(shared: Held) -> None:
    """No port of it answers a request for metrics with any."""
    answers: dict[int, httpx.Response] = {}
    for port in {address.port for address in listening(shared.command)}:
        with contextlib.suppress(httpx.TransportError):  # some of them speak gRPC
            answers[port] = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
    assert answers
    for port, answer in answers.items():
        assert answer.status_code >= 400, f"port {port}: {answer.text[:200]}"


def test_ctrl_c_leaves_nothing(shared: Held) -> None:
    """The last of those that share it: others have joined it and looked at it."""
    token = token_of(shared.run_dir)
    family = descendants(psutil.Process(shared.command.pid))
    assert len(family) > 3
    shared.command.send_signal(signal.SIGINT)
    shared.command.wait(timeout=60)
    assert leftovers(family) == []
    assert list(shared.run_dir.iterdir()) == []
    assert not token.parent.exists()


def test_a_signal_to_the_whole_process_group_ends_the_command_in_order(held: Held) -> None:
    """As `timeout` and a terminal send it: Ray lives on until the command has tidied up."""
    token = token_of(held.run_dir)
    family = descendants(psutil.Process(held.command.pid))
    os.killpg(held.command.pid, signal.SIGTERM)
    held.command.wait(timeout=60)
    assert leftovers(family) == []
    assert list(held.run_dir.iterdir()) == []
    assert not token.parent.exists()


def test_a_killed_command_takes_its_ray_with_it(held: Held) -> None:
    """All of it, within seconds: also Ray's two agents, which by themselves would stay for a minute."""
    token = token_of(held.run_dir)
    family = descendants(psutil.Process(held.command.pid))
    assert [process for process in family if process.name().endswith("Agent")]
    held.command.kill()
    held.command.wait(timeout=10)
    assert leftovers(family, timeout_s=30) == []
    assert not token.parent.exists()
    killed = pytest.raises(ClusterUnreachable, match=r"is not a live run: its command .* was killed")
    with killed, connected(held.run_dir):
        pass


def test_temporary_files_of_its_processes_lie_in_its_folder_and_go_with_it(ray_session: Path) -> None:
    at = ray.get(ray.remote(tempfile.gettempdir).options(num_cpus=0).remote())
    assert Path(at).parent == ray_session


def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    started = time.monotonic()
    with pytest.raises(NotEnough, match="cpus"), running(tmp_path, Resources(cpus=10_000)):
        pass
    assert time.monotonic() - started < 30


def test_an_autoscaler_that_gets_the_time_brings_up_what_is_missing(tmp_path: Path) -> None:
    """Ray's own autoscaler; without time what is missing is refused at once, and the fix says how to give it some."""
    folder = Path(tempfile.mkdtemp(prefix="ip-", dir="/tmp"))
    with ray_head(folder, autoscaling=True) as head:

        def join(wait_s: int) -> str:
            command = [sys.executable, "-c", JOIN, str(tmp_path), head.gcs_address, str(wait_s)]
            done = subprocess.run(command, env=environ() | head.environ, capture_output=True, text=True, timeout=400)
            assert done.returncode == 0, done.stderr
            return done.stdout

        refused = join(0)
        assert re.search(r"cpus +2\.00 +0\.00 +2\.00", refused)
        assert "--wait 600" in refused
        assert join(300) == "2 CPUs\n"
    shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_without_a_live_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnreachable, match="is not a live run"), connected(tmp_path):
        pass


def test_a_dead_address_is_refused_at_once(tmp_path: Path) -> None:
    refused = pytest.raises(ClusterUnreachable, match=r"nothing answers at 127\.0\.0\.1:1 ")
    with refused, running(tmp_path, Resources(1), address="127.0.0.1:1"):
        pass


def test_a_head_elsewhere_needs_authentication_or_an_ugly_flag() -> None:
    with pytest.raises(UnsafeCluster, match="token authentication is off") as caught:
        require_safe("10.0.0.5:6379", {}, insecure=False)
    assert INSECURE_FLAG in caught.value.fix
    require_safe("10.0.0.5:6379", {"RAY_AUTH_MODE": "token"}, insecure=False)
    require_safe("10.0.0.5:6379", {}, insecure=True)
    require_safe("127.0.0.1:6379", {}, insecure=False)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:6379", True),
        ("localhost:6379", True),
        ("http://127.0.0.1:8265", True),
        ("[::1]:6379", True),
        ("0.0.0.0:6379", False),
        ("http://head.example:8265", False),
        ("localhost.example:6379", False),
        ("127.evil.example:6379", False),
    ],
)
def test_loopback_is_told_from_names_that_look_like_it(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback
