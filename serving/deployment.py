"""The Ray Serve application: one deployment whose replicas answer HTTP and have engines, each in a process of its own.

A request takes at most one hop, from Serve's proxy to a replica that does not listen itself (docs/decisions/0150), and
a socket pair from there to the engine (docs/decisions/0204). Replicas are alike: each loads what it is asked for, and
what admins set lies in the run folder, where all see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import LoggingConfig

from actors.config import engine_env
from serving.config import ReplicaConfig, ServingConfig
from serving.runs.control import RunControl
from verifier.errors import UserError


class NotCounted(UserError):
    """The settings of a deployment contradict each other."""


@serve.ingress()
class Gateway:
    """One replica. The heavy imports happen here, in a process that has the engine's environment already."""

    async def __init__(self, config: Mapping[str, Any], control: RunControl) -> None:
        from serving.http.logs import install
        from serving.replica import Replica

        install()
        self._replica = Replica(ServingConfig.model_validate(config), control)
        await self._replica.start()

    def __serve_build_asgi_app__(self):
        return self._replica.app

    async def drain(self) -> None:
        """Refuse new requests and finish the open ones, within the configured grace period."""
        await self._replica.drain()

    async def __del__(self) -> None:
        await self._replica.drain()
        await self._replica.stop()


def application(
    config: ServingConfig, replicas: ReplicaConfig, env: Mapping[str, str], control: RunControl
) -> Application:
    """The application for `serve.run`; `env` is what every process of ours gets, besides the engine's own needs.

    `control` reaches live runs from every replica.

    Raises NotCounted when Serve is to scale replicas by requests that it does not see.
    """
    if config.listen is not None and replicas.min_replicas != replicas.max_replicas:
        raise NotCounted(
            "replicas that listen themselves are not scaled: Serve does not see their requests.",
            "Give min_replicas and max_replicas the same number, or leave `listen` out.",
        )
    deployment = serve.deployment(
        name="gateway",
        # Far above what the gate lets in: refusals are ours, at once and in our error shape.
        max_ongoing_requests=4096,
        max_queued_requests=-1,
        graceful_shutdown_timeout_s=config.grace_s + 5,
        graceful_shutdown_wait_loop_s=0.2,
        health_check_period_s=5,
        logging_config=LoggingConfig(enable_access_log=False),  # the guard logs every request
        autoscaling_config=AutoscalingConfig(
            min_replicas=replicas.min_replicas,
            max_replicas=replicas.max_replicas,
            target_ongoing_requests=config.running,
        ),
        ray_actor_options={
            "num_cpus": replicas.cpus,
            "num_gpus": replicas.gpus,
            "runtime_env": {"env_vars": {**env, **engine_env(config.engine)}},
        },
    )
    return deployment(Gateway).bind(config.model_dump(mode="json"), control)
