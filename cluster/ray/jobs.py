"""Ray jobs: send a recipe or a study to a cluster, follow the log, stop it. Over HTTP alone, without joining Ray.

A job runs `python -m cluster run ...` (or `study ...`) in a working directory that holds our packages. The same by
Ray's own client is `ray job submit --working-dir . -- python -m cluster run RECIPE` (docs/operations.md).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import requests
from ray.job_submission import JobStatus, JobSubmissionClient

from cluster.errors import ClusterUnreachable, UnsafeCluster
from cluster.ray.environment import actor_env, token_file
from cluster.ray.packaging import Sent, stage
from cluster.ray.runtime import INSECURE_FLAG, is_loopback
from verifier.errors import UserError

DEFAULT_PORT = 8265
PROBE_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 90.0
# Ray kills a stopped job after 3 seconds by default; a learner that saves needs longer.
STOP_GRACE_S = 60
POLL_S = 0.5
READY_TIMEOUT_S = 60.0
NOT_READY = "No available agent"
NO_JOB = "status code 404"
WITHOUT_TOKEN = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
"""The answers to a missing token and to a wrong one."""
CHECK_ADDRESS = (
    f"Check the address: the head's dashboard, port {DEFAULT_PORT} by default (`ray start --head` prints it)."
)
ON_CLUSTER_CACHE = Path(tempfile.gettempdir()) / "interplay-cache"


class JobError(UserError):
    """The job does not exist, or the cluster did not accept it."""


@dataclass(frozen=True, slots=True)
class JobServer:
    """A job server that answered, with the token that it accepted (None where authentication is off)."""

    address: str
    token: str | None

    def client(self) -> JobSubmissionClient:
        """Ray's own client for it."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else None
        return JobSubmissionClient(self.address, headers=headers)


def reach(address: str, environ: Mapping[str, str], *, insecure: bool = False) -> JobServer:
    """Find the job server at `host`, `host:port` or a URL, and the token for it in `environ`, as Ray itself does.

    Raises ClusterUnreachable when no job server answers or the token is missing or refused, and UnsafeCluster when
    another machine's server asks for no token. The token is sent only to a server that asks for one.
    """
    url = _url(address)
    answer = _version(url, None)
    if answer.status_code not in WITHOUT_TOKEN:
        _require_job_server(url, answer)
        if not (insecure or is_loopback(url)):
            raise UnsafeCluster(
                f"the Ray at {url} accepts jobs from anyone: its token authentication is off.",
                f"Start it with RAY_AUTH_MODE=token (docs/operations.md), or accept the risk with {INSECURE_FLAG}.",
            )
        return JobServer(url, None)
    token = find_token(environ)
    if token is None:
        raise ClusterUnreachable(
            f"the Ray at {url} requires a token, and none is set here.",
            "Set RAY_AUTH_TOKEN_PATH to the file that holds the cluster's token (or RAY_AUTH_TOKEN to the token).",
        )
    answer = _version(url, token)
    if answer.status_code in WITHOUT_TOKEN:
        raise ClusterUnreachable(
            f"the Ray at {url} refuses our token (HTTP {answer.status_code}).",
            "Use the token of that cluster: `ray get-auth-token` on its head prints it.",
        )
    _require_job_server(url, answer)
    return JobServer(url, token)


def find_token(environ: Mapping[str, str]) -> str | None:
    """The token that Ray would use: RAY_AUTH_TOKEN, else that in the file."""
    if token := environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = token_file(environ)
    return (path.read_text().strip() or None) if path.is_file() else None


def submit_command(server: JobServer, sent: Sent, folder_option: str, folder: str | None, python: str) -> str:
    """Send one of our commands as a job; returns the job's id.

    `folder` is where it works on the cluster, which `folder_option` tells it; by default one named after the job.
    `python` is the interpreter of our environment on the head, since Ray runs a job's command in a plain shell.
    """
    job_id = new_job_id(sent.name)
    with tempfile.TemporaryDirectory(prefix="interplay-ship-") as here:
        stage(Path(here), sent.files, sent.own)
        where = folder or f"{tempfile.gettempdir()}/interplay-runs/{job_id}"
        return submit(server, [python, "-m", "cluster", *sent.words, folder_option, where], Path(here), job_id)


def new_job_id(name: str) -> str:
    """An id that no other job has. Ray puts it into URLs, so a `#` or `?` of a file's name would cut it off there."""
    named = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    return f"interplay-{named}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def submit(server: JobServer, words: Sequence[str], working_dir: Path, job_id: str) -> str:
    """Send a command line as a job, with `working_dir` as its folder; returns the job's id."""
    environment = {**actor_env(ON_CLUSTER_CACHE, 1), "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_S)}
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            return server.client().submit_job(
                entrypoint=shlex.join(words),
                submission_id=job_id,
                runtime_env={"working_dir": str(working_dir), "env_vars": environment},
            )
        except (RuntimeError, ConnectionError, requests.RequestException) as error:
            # The job API of a new cluster answers before the agent that starts jobs is up.
            if NOT_READY not in str(error) or time.monotonic() > deadline:
                raise JobError(f"the cluster did not accept the job: {error}", "Look at the head's logs.") from error
        time.sleep(POLL_S)


def follow(server: JobServer, job_id: str, write: Callable[[str], object]) -> JobStatus:
    """Write the job's log as it grows, until the job ends; returns how it ended.

    Raises JobError for an unknown id, and ClusterUnreachable when the connection breaks.
    """
    with _connection(server, job_id):
        client = server.client()
        status_of(client, job_id)

        async def tail() -> None:
            async for lines in client.tail_job_logs(job_id):
                write(lines)

        asyncio.run(tail())
        return await_end(client, job_id)


def stop(server: JobServer, job_id: str) -> JobStatus:
    """Tell a job to stop (it saves first) and wait for its end.

    Raises JobError for an unknown id or on a timeout, and ClusterUnreachable when the connection breaks.
    """
    with _connection(server, job_id):
        client = server.client()
        if not status_of(client, job_id).is_terminal():
            client.stop_job(job_id)
        return await_end(client, job_id)


@contextmanager
def _connection(server: JobServer, job_id: str) -> Iterator[None]:
    """Raises ClusterUnreachable for what Ray's client and its libraries raise when a server does not answer them."""
    try:
        yield
    except BrokenPipeError:  # of the reader of our output
        raise
    except (ConnectionError, RuntimeError, requests.RequestException, aiohttp.ClientError) as error:
        raise ClusterUnreachable(
            f"the connection to {server.address} broke ({error}).",
            f"The job does not depend on it; look how it is: ray job logs {job_id} --address {server.address}",
        ) from error


def status_of(client: JobSubmissionClient, job_id: str) -> JobStatus:
    """The state of a job; raises JobError for an id that the cluster does not know."""
    try:
        return client.get_job_status(job_id)
    except RuntimeError as error:
        if NO_JOB not in str(error):
            raise
        raise JobError(f"the cluster knows no job {job_id}.", "`ray job list --address ...` lists its jobs.") from error


def await_end(client: JobSubmissionClient, job_id: str) -> JobStatus:
    """Wait for a job that is about to end; raises JobError when it takes too long."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while not (status := status_of(client, job_id)).is_terminal():
        if time.monotonic() > deadline:
            raise JobError(f"job {job_id} is still {status}.", f"Look at it: ray job logs {job_id}")
        time.sleep(POLL_S)
    return status


def _url(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    if separator and scheme not in {"http", "https"}:
        raise ClusterUnreachable(
            f"{address} is not the address of a job server.",
            f"Give http://HOST:{DEFAULT_PORT}: jobs go to Ray's dashboard.",
        )
    host = _bracketed(rest.rstrip("/"))
    return f"{scheme or 'http'}://{host if host.rpartition(':')[2].isdecimal() else f'{host}:{DEFAULT_PORT}'}"


def _bracketed(host: str) -> str:
    """A bare IPv6 address as it stands in a URL."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host


def _version(url: str, token: str | None) -> httpx.Response:
    """The answer of the job server's version route. Raises ClusterUnreachable when there is no HTTP server."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return httpx.get(f"{url}/api/version", headers=headers, timeout=PROBE_TIMEOUT_S, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last: of no host's name
        raise ClusterUnreachable(f"no Ray answers at {url} ({error}).", CHECK_ADDRESS) from error


def _require_job_server(url: str, answer: httpx.Response) -> None:
    """Raises ClusterUnreachable unless it is the answer of a Ray."""
    try:
        told = answer.json() if answer.status_code == httpx.codes.OK else None
    except ValueError:
        told = None
    if not (isinstance(told, dict) and "ray_version" in told):
        raise ClusterUnreachable(
            f"what answers at {url} is no job server of Ray (HTTP {answer.status_code}).", CHECK_ADDRESS
        )
