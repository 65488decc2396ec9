"""The settings of a server, which are also the fields of the Serve config file; nothing here reads files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from actors.config import EngineConfig
from serving.http.keys import KeyRecord
from serving.schemas import DEADLINE_S
from verifier.errors import UserError
from verifier.families import AnyTask

RUN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class SameRun(UserError):
    """Runs that are served together cannot be told apart, or a run's name cannot stand in a model id."""


def require_run_names(run_dirs: Sequence[Path]) -> None:
    """Raises SameRun unless every run folder has a name of its own that can begin a model id, such as `demo@20`."""
    folders: dict[str, Path] = {}
    for folder in (path.resolve() for path in run_dirs):
        if not RUN_NAME.fullmatch(folder.name):
            raise SameRun(
                f"a run is called by its folder, and {folder.name!r} cannot stand in a model id.",
                "Rename the folder: letters, digits and ._- only.",
            )
        other = folders.setdefault(folder.name, folder)
        if other is not folder:
            raise SameRun(
                f"{other} and {folder} are both called {folder.name!r}, and so would their models be.",
                "Rename one of the folders, or serve them apart.",
            )


class Listen(BaseModel):
    """Where every replica listens itself; those of one machine share the port."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)


class ServingConfig(BaseModel):
    """One server, whatever the number of its replicas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_dirs: tuple[Path, ...] = Field(min_length=1, description="run folders; plain aliases mean the first")
    keys: tuple[KeyRecord, ...] = Field(min_length=1, description="the API keys at rest")
    key_file: Path | None = Field(default=None, description="where each replica looks for the keys as they change")
    engine: EngineConfig = Field(default_factory=lambda: EngineConfig.model_validate({}))
    engines_per_replica: int = Field(default=3, ge=1, description="checkpoints in memory at once; the LRU gives way")
    running: int = Field(default=32, ge=1, description="sequences in the engines at once")
    queued: int = Field(default=64, ge=0, description="requests that may wait; more get 503 at once")
    rate_per_minute: int = Field(default=6000, ge=1, description="requests of one key on average")
    burst: int = Field(default=600, ge=1, description="requests of one key at once")
    tokens_per_minute: int = Field(
        default=6_000_000, ge=1, description="tokens that one key may ask for: max_tokens x samples x problems"
    )
    deadline_s: float = Field(default=DEADLINE_S, gt=0, le=DEADLINE_S, description="for every answer and every stream")
    listen: Listen | None = Field(default=None, description="for the replicas; without it, Serve's proxy listens")
    task: AnyTask | None = Field(default=None, description="problems for the probe besides op-graph ones")
    grace_s: float = Field(default=20.0, gt=0, description="for what runs when the server is told to stop")

    @field_validator("run_dirs")
    @classmethod
    def _names_differ(cls, run_dirs: tuple[Path, ...]) -> tuple[Path, ...]:
        require_run_names(run_dirs)
        return run_dirs


class ReplicaConfig(BaseModel):
    """How many replicas Serve keeps, and what Ray reserves for each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    cpus: float = Field(default=1.0, ge=0)
    gpus: float = Field(default=0.0, ge=0)
