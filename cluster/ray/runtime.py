"""Starts Ray for one command, or joins a running one, and leaves nothing behind.

It is not a scheduler: Ray places the actors. Its rules: token authentication is always on for a Ray that we start, the
token file is readable by its owner alone, nothing is written to the home folder, `cluster.json` in a run folder says
how to reach its Ray, and a missing resource is an error before anything starts, never a hang.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import math
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import ray
import ray.exceptions
from ray._raylet import AuthenticationTokenLoader, Config  # pyright: ignore[reportAttributeAccessIssue]  # Cython

from actors.files import PRIVATE, replace_text
from cluster.errors import ClusterUnreachable, UnsafeCluster
from cluster.ray import resources
from cluster.ray.environment import actor_env, cache_folder
from cluster.ray.local import NAMESPACE, keep_to_loopback, local_ray, ray_folder
from cluster.ray.packaging import stage
from cluster.ray.resources import Resources
from cluster.signals import sigterm_as_interrupt

INSECURE_FLAG = "--i-accept-that-anyone-on-the-network-can-run-code"
CLUSTER_FILE = "cluster.json"
CONNECT_TIMEOUT_S = 3.0


class NotLive(ClusterUnreachable):
    """The Ray of a run folder is not alive: nothing runs there, or not yet."""


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """`cluster.json` of a run folder: what another process of the same user needs to join the run's Ray."""

    address: str
    token_path: str | None
    namespace: str
    host: str
    pid: int


@contextmanager
def running(
    run_dir: Path | None,
    asked: Resources,
    *,
    address: str | None = None,
    insecure: bool = False,
    wait_s: float = 0.0,
    own: Path | None = None,
    fix: str = resources.FEWER,
) -> Generator[ClusterRecord]:
    """A Ray with at least the resources `asked` for, for the length of the block; `run_dir/cluster.json` names it.

    Without a `run_dir` nobody else needs to find it. Without `address` (and outside a Ray job, which sets RAY_ADDRESS)
    a local Ray with this machine's cores is started, and stopped with all its processes however the block ends. With
    `address` that cluster is joined and outlives the block; `wait_s` is the time that an autoscaler gets to add what is
    missing, and `own` is the folder of the user's code, which is sent there with our packages (a local Ray finds it).
    In a process of Ray (a run of a study) it is that Ray. `fix` is what the command can do about too few resources.

    Raises NotEnough, ClusterUnreachable, UnsafeCluster or TooMuchToShip. SIGTERM ends the block as Ctrl-C does.
    """
    target = address or os.environ.get("RAY_ADDRESS")
    if address is None and ray.is_initialized():
        context = _within(asked, fix)
    else:
        context = _joined(target, asked, insecure, wait_s, own, fix) if target else _local(asked, fix)
    # Ray sets its own SIGTERM handler when it starts: ours is set before that, and again after it.
    with sigterm_as_interrupt(), context as record, sigterm_as_interrupt(), _recorded(run_dir, record):
        yield record


@contextmanager
def _recorded(run_dir: Path | None, record: ClusterRecord) -> Generator[None]:
    if run_dir is None:
        yield
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    replace_text(run_dir / CLUSTER_FILE, json.dumps(asdict(record), indent=1) + "\n", PRIVATE)
    try:
        yield
    finally:
        (run_dir / CLUSTER_FILE).unlink(missing_ok=True)


@contextmanager
def connected(run_dir: Path) -> Generator[ClusterRecord]:
    """Connects this process to the Ray of a live run. Raises NotLive or ClusterUnreachable."""
    record = _read_record(run_dir)
    try:
        _require_listener(record.address)  # check first: connecting changes this process's token
    except ClusterUnreachable as error:
        raise elsewhere(run_dir, record.pid, record.host) from error
    if record.token_path:
        use_token(Path(record.token_path))
    _connect(record.address, {})
    try:
        yield record
    finally:
        ray.shutdown()


def use_token(token_path: Path) -> None:
    """Switch token authentication on for this process and its children, whether or not Ray is imported already."""
    os.environ.pop("RAY_AUTH_TOKEN", None)
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_path)
    # Ray read both at its import.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def require_safe(address: str, environ: Mapping[str, str], insecure: bool) -> None:
    """Raises UnsafeCluster for a head on another machine when we hold no token for it.

    Without authentication Ray runs the code of anyone who reaches it (CVE-2023-48022), so a cluster must have it on.
    """
    if insecure or is_loopback(address) or environ.get("RAY_AUTH_MODE", "").lower() == "token":
        return
    raise UnsafeCluster(
        f"the Ray head at {address} is not on this machine, and token authentication is off.",
        "Start it with RAY_AUTH_MODE=token, and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here too "
        f"(docs/operations.md). To do without it on a network that you trust: {INSECURE_FLAG}.",
    )


def is_loopback(address: str) -> bool:
    """Whether an address (`host:port`, or with a scheme) can only be reached from this machine."""
    host = address.rpartition("://")[2].rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _local(asked: Resources, fix: str) -> Generator[ClusterRecord]:
    here = resources.of_this_machine()
    resources.require(asked, here, "this machine", fix)
    environment = actor_env(cache_folder(os.environ), 1)
    with ray_folder() as folder:
        token_path = folder / "token"
        replace_text(token_path, secrets.token_hex(32), PRIVATE)
        use_token(token_path)
        with local_ray(folder, int(here.cpus), int(here.gpus), environment) as address:
            yield ClusterRecord(address, str(token_path), NAMESPACE, socket.gethostname(), os.getpid())


@contextmanager
def _within(asked: Resources, fix: str) -> Generator[ClusterRecord]:
    """The Ray that this process is part of; the process that started or joined it ends it."""
    record = _this_cluster()
    resources.require(asked, resources.of_ray(ray.cluster_resources()), f"the cluster at {record.address}", fix)
    yield record


@contextmanager
def _joined(
    address: str, asked: Resources, insecure: bool, wait_s: float, own: Path | None, fix: str
) -> Generator[ClusterRecord]:
    _require_port(address)
    require_safe(address, os.environ, insecure)
    # Inside a job Ray hands down the job's own runtime environment, and refuses a second one.
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    if in_job:
        _connect(address, {})
    else:
        with tempfile.TemporaryDirectory(prefix="interplay-ship-") as folder:
            stage(Path(folder), {}, own)
            environment = actor_env(Path(tempfile.gettempdir()) / "interplay-cache", 1)
            _connect(address, {"working_dir": folder, "env_vars": environment})
    try:
        _await_resources(asked, f"the cluster at {address}", wait_s, fix)
        yield _this_cluster()
    finally:
        if wait_s:
            _tell_autoscaler(Resources(0))  # the autoscaler may remove its nodes
        ray.shutdown()


def _this_cluster() -> ClusterRecord:
    """The Ray that this process is part of."""
    token_path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    address = ray.get_runtime_context().gcs_address
    return ClusterRecord(address, token_path, NAMESPACE, socket.gethostname(), os.getpid())


def _connect(address: str, runtime_env: Mapping[str, object]) -> None:
    _require_listener(address)
    if is_loopback(address):
        keep_to_loopback()
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=dict(runtime_env) or None,
        )
    except ray.exceptions.AuthenticationError as error:
        raise ClusterUnreachable(
            f"the Ray at {address} refuses our token.",
            "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file that holds the cluster's token.",
        ) from error
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        raise ClusterUnreachable(
            f"no Ray answers at {address}: {error}", "Check the address, and `ray status` there."
        ) from error


def _require_port(address: str) -> None:
    """Raises ClusterUnreachable for what is no HOST:PORT, such as Ray's own `auto`."""
    if not address.rpartition(":")[2].isdecimal():
        raise ClusterUnreachable(
            f"{address} is not the address of a Ray head.",
            "Give HOST:PORT, such as 127.0.0.1:6379: `ray start --head` prints it.",
        )


def _require_listener(address: str) -> None:
    """Raises ClusterUnreachable at once where nothing listens; Ray itself would try for half a minute."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:  # the second: of no host's name
        raise ClusterUnreachable(
            f"nothing answers at {address} ({getattr(error, 'strerror', None) or error}).",
            "Check the address (host:6379 of the head node), or leave --address out for a local Ray.",
        ) from error


def _await_resources(asked: Resources, where: str, wait_s: float, fix: str) -> None:
    """Give an autoscaler `wait_s` to add what is missing. Raises NotEnough."""
    deadline = time.monotonic() + wait_s
    pause = threading.Event()
    if wait_s:
        _tell_autoscaler(asked)
    while time.monotonic() < deadline and resources.short(asked, resources.of_ray(ray.cluster_resources())):
        pause.wait(0.5)
    resources.require(asked, resources.of_ray(ray.cluster_resources()), where, fix)


def _tell_autoscaler(asked: Resources) -> None:
    """Ask the cluster's autoscaler, if it has one, to keep nodes for this much until it is told otherwise."""
    from ray.autoscaler.sdk import request_resources

    request_resources(num_cpus=math.ceil(asked.cpus), bundles=[{"GPU": 1}] * math.ceil(asked.gpus))


def _read_record(run_dir: Path) -> ClusterRecord:
    path = run_dir / CLUSTER_FILE
    if not path.is_file():
        raise NotLive(f"{run_dir} is not a live run.", "Start it with `interplay run`, or name the folder of one.")
    record = ClusterRecord(**json.loads(path.read_text()))
    here = record.host == socket.gethostname()
    if here and not psutil.pid_exists(record.pid):
        raise NotLive(
            f"{run_dir} is not a live run: its command (process {record.pid}) was killed.",
            "To continue it: `interplay run` with the same recipe and --resume.",
        )
    if not here and is_loopback(record.address):
        raise elsewhere(run_dir, record.pid, record.host)
    return record


def elsewhere(run_dir: Path, pid: int, host: str) -> NotLive:
    """The error for a run whose command cannot be asked from here; nor can be told whether it has ended."""
    return NotLive(
        f"{run_dir} cannot be reached from here: process {pid} on {host} works in it, or was killed.",
        f"Ask on {host}. If that process has ended, `interplay run` with the same recipe and --resume continues it.",
    )
