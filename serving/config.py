"""What a server is told when it starts. Also the arguments of the Serve config file; nothing here reads files."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from actors.config import EngineConfig
from serving.http.keys import KeyRecord
from serving.schemas import DEADLINE_S


class Listen(BaseModel):
    """Where a replica listens itself."""

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
    listen: Listen | None = Field(default=None, description="for the one replica; without it, Serve's proxy listens")
    grace_s: float = Field(default=20.0, gt=0, description="for what runs when the server is told to stop")


class ReplicaConfig(BaseModel):
    """How many replicas Serve keeps, and what Ray reserves for each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    cpus: float = Field(default=1.0, ge=0)
    gpus: float = Field(default=0.0, ge=0)
