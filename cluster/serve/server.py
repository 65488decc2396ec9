"""Starts the HTTP server on Ray Serve and stops it; `serve deploy` imports it too. Reads the key file.

The server itself is the package `serving`. This module checks its arguments, starts it on Ray, and ends it: first it
drains, then it shuts down.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cluster.ray.environment import actor_env, cache_folder
from cluster.serve.control import RunCommands
from cluster.serve.keys import read_keys
from serving.http.keys import KeyRecord, new_key
from verifier.errors import UserError

if TYPE_CHECKING:
    from ray.serve import Application

    from serving.config import ReplicaConfig, ServingConfig
    from verifier.families import TaskConfig

APPLICATION: Final = "interplay"
READY_TIMEOUT_S: Final = 180.0
FEWER: Final = "Ask for fewer (--replicas, --gpus), or join a cluster (--address)."
"""What a server can do about too few resources."""
# Serve's own proxy must wait longer than our deadline, which answers with an error in our format.
PROXY_TIMEOUT_S: Final = 90.0
# Ray and Serve read these when their processes start. By default Serve kills a proxy that is not up within five seconds
# and starts another, again and again on a busy machine. For the priority see `cluster.ray.environment`.
SERVE_ENVIRONMENT: Final = {
    "RAY_worker_niceness": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
}
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class ServeError(UserError):
    """The server cannot start as asked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything needed to start. `shown_key` is the key made for this start, if there is no key file."""

    host: str
    port: int
    config: ServingConfig
    replicas: ReplicaConfig
    shown_key: str | None
    no_task: str | None
    """Why the probe does not offer the run's own problems, if it does not."""

    @property
    def direct(self) -> bool:
        """Whether the replicas listen themselves, and Serve needs no proxy (docs/decisions/0150)."""
        return self.config.listen is not None

    def through_proxy(self) -> Plan:
        """The same with Serve's proxy on every node: on a cluster of several, nobody knows where a replica will be."""
        return replace(self, config=self.config.model_copy(update={"listen": None}))

    @property
    def url(self) -> str:
        """Where the server answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def plan(
    *,
    run_dirs: tuple[Path, ...],
    host: str,
    port: int,
    key_file: Path | None,
    engines: int,
    replicas: int,
    gpus: float,
    running: int,
    queued: int,
    task: str | None = None,
) -> Plan:
    """Check the arguments before anything starts. Raises ServeError, KeyFileError, NoTask or RecipeError. `task` names
    the problems of the probe; without it they are those of the first run.
    """
    from actors.config import EngineConfig
    from serving.config import Listen, ReplicaConfig, ServingConfig, require_run_names

    for folder in run_dirs:
        if not folder.is_dir():
            raise ServeError(f"there is no run folder {folder}.", "Give the folder that `interplay run` wrote.")
    require_run_names(run_dirs)
    problems, no_task = _task(task, run_dirs[0])
    keys, shown = _keys(key_file, host)
    _require_free(host, port)
    device, dtype = ("cuda", "bfloat16") if gpus else ("cpu", "float32")
    engine = EngineConfig.model_validate({"device": device, "dtype": dtype, "max_open_requests": max(64, 2 * running)})
    config = ServingConfig(
        run_dirs=tuple(folder.resolve() for folder in run_dirs),
        keys=keys,
        key_file=key_file.absolute() if key_file else None,
        engine=engine,
        engines_per_replica=engines,
        running=running,
        queued=queued,
        listen=Listen(host=host, port=port),
        task=problems,
    )
    place = ReplicaConfig(min_replicas=replicas, max_replicas=replicas, cpus=1.0, gpus=gpus)
    return Plan(host, port, config, place, shown, no_task)


def serve(plan: Plan, say: Callable[[str], None], *, address: str | None = None, insecure: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM, then drain and stop."""
    from cluster.ray.packaging import own_folder
    from cluster.ray.resources import Resources
    from cluster.ray.runtime import running

    prepare_environment()
    count = plan.replicas.min_replicas
    asked = Resources(count * plan.replicas.cpus, count * plan.replicas.gpus)
    # No record in the run folder: the run may be training and has its own, and nobody needs to find this Ray.
    own = own_folder(plan.config.model_dump(mode="json"), Path.cwd())
    with running(None, asked, address=address, insecure=insecure, own=own, fix=FEWER):
        if _nodes() > 1:
            plan = plan.through_proxy()
        start(plan)
        try:
            say(_greeting(plan))
            threading.Event().wait()
        except KeyboardInterrupt:
            say("draining")
        finally:
            stop(plan)


def _nodes() -> int:
    """The nodes of the Ray that this process is connected to."""
    import ray

    return sum(node["Alive"] for node in ray.nodes())


def prepare_environment() -> None:
    """Set the variables that Ray and Serve read when they start; those that are already set are kept."""
    for name, value in SERVE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def start(plan: Plan) -> None:
    """Deploy on the Ray that this process is connected to, and wait until a replica answers.

    Raises ServeError if another process, often one of Ray's own, has taken the port since `plan` checked it.
    """
    from ray import serve as ray_serve

    try:
        _deploy(plan)
    except BaseException:  # also Ctrl-C: a cluster would keep what is deployed in part
        ray_serve.shutdown()
        raise


def _deploy(plan: Plan) -> None:
    from ray import serve as ray_serve
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    from serving.deployment import application

    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # it would print the address of its own proxy
    ray_serve.start(
        proxy_location="Disabled" if plan.direct else "EveryNode",
        http_options=HTTPOptions(host=plan.host, port=plan.port, request_timeout_s=PROXY_TIMEOUT_S),
        logging_config=LoggingConfig(enable_access_log=False),  # the replica logs every request, with the same id
    )
    app = application(plan.config, plan.replicas, _environment(), RunCommands())
    try:
        ray_serve.run(app, name=APPLICATION, route_prefix="/", _local_testing_mode=False)
    except RuntimeError:
        if plan.direct:
            _require_free(plan.host, plan.port)
        raise


def stop(plan: Plan) -> None:
    """Let open requests finish within the grace period, then remove the application."""
    from ray import serve as ray_serve

    try:
        ray_serve.get_app_handle(APPLICATION).broadcast("drain").results(timeout_s=plan.config.grace_s + 5)
    finally:
        ray_serve.shutdown()


def build(args: Mapping[str, Any]) -> Application:
    """The application for a Serve config file (`serve deploy`): `import_path: cluster.serve.server:build`.

    `args` are the fields of `ServingConfig` with `api_key_file` (a path on the cluster, such as a mounted secret) in
    the place of `keys`, and `replicas`, the fields of `ReplicaConfig`. Raises ServeError without a key file.
    """
    from serving.config import ReplicaConfig, ServingConfig
    from serving.deployment import application

    fields = dict(args)
    if "api_key_file" not in fields:
        raise ServeError("the application has no key file.", "Add api_key_file: FILE to its args.")
    key_file = Path(str(fields.pop("api_key_file")))
    replicas = ReplicaConfig.model_validate(fields.pop("replicas", {}))
    return application(
        ServingConfig.model_validate({**fields, "keys": read_keys(key_file), "key_file": key_file}),
        replicas,
        _environment(),
        RunCommands(),
    )


def _task(named: str | None, run_dir: Path) -> tuple[TaskConfig | None, str | None]:
    """The task that `--task` names, else the run's own, or why that cannot be used. Raises only for a named task."""
    from cluster.recipe.task import named_task, opened, task_of_run

    if named is not None:
        return opened(named_task(named)), None
    try:
        return opened(task_of_run(run_dir)), None
    except UserError as error:
        return None, f"{error} {error.fix}"


def _keys(key_file: Path | None, host: str) -> tuple[tuple[KeyRecord, ...], str | None]:
    if key_file is not None:
        return read_keys(key_file), None
    if host not in _LOOPBACK:
        raise ServeError(
            f"{host} can be reached from other machines, and there is no key file.",
            "Make one with --api-key-file FILE --add-key NAME:SCOPE, or listen on 127.0.0.1.",
        )
    key, record = new_key("this-start", "admin")
    return (record,), key


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _require_free(host: str, port: int) -> None:
    with socket.socket(_family(host)) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise ServeError(
                f"cannot listen on {host}:{port}: {error.strerror}.", "Choose another --port, best below 32768."
            ) from error


def _environment() -> dict[str, str]:
    return actor_env(cache_folder(os.environ), 1)


def _greeting(plan: Plan) -> str:
    lines = [f"serving {', '.join(map(str, plan.config.run_dirs))} at {plan.url}"]
    if plan.shown_key:
        lines.append(f"key for this start (admin): {plan.shown_key}")
    if plan.no_task:
        lines.append(f"the run's own problems are not offered: {plan.no_task}")
    lines.append(f"page: {plan.url}/    models: curl -H 'Authorization: Bearer KEY' {plan.url}/v1/models")
    return "\n".join(lines)
