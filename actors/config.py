"""Configuration of the acting side: one engine, and the fleet of workers around it.

Units stand in the field names. The defaults run the tiny CPU job. This module reads no environment: `engine_env` says
what an engine's process needs, and whoever starts that process applies it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from verifier.graphs.problem import TEMPLATES, Template


class EngineConfig(BaseModel):
    """One inference engine. The same fields serve a CPU and a GPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Literal["vllm", "torch"] = Field(default="vllm", description="torch is the slow oracle of the tests")
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="float32 is the right type on a CPU"
    )
    threads: int = Field(
        default=1, ge=1, description="OpenMP threads; more than the process has cores is 20 times slower"
    )
    max_open_requests: int = Field(default=64, ge=1, description="sequences decoded together; the rest wait")
    kv_cache_mib: int = Field(default=256, ge=8, description="memory for keys and values")
    compiled: bool = Field(default=False, description="compile the model (GPU); costs half a minute at start")


class FleetConfig(BaseModel):
    """The fleet: how many workers, what each may use, how long each wait may last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rollout_workers: int = Field(default=1, ge=1)
    reward_workers: int = Field(default=1, ge=1)
    rollout_cpus: float = Field(default=0.5, gt=0, description="what Ray reserves for a rollout worker")
    rollout_gpus: float = Field(default=0, ge=0)
    reward_cpus: float = Field(default=0.1, gt=0)
    max_restarts: int = Field(default=3, ge=0, description="replacements of one worker before it is retired")
    restart_backoff_s: float = Field(default=0.5, ge=0, description="before the first replacement; doubles each time")
    start_timeout_s: float = Field(default=600, gt=0, description="from asking for a worker to its engine being ready")
    fetch_timeout_s: float = Field(default=30, gt=0, description="weight sync: until the bytes are here and checked")
    load_timeout_s: float = Field(default=30, gt=0, description="weight sync: until the engine holds them")
    drain_timeout_s: float = Field(default=60, gt=0, description="for the open groups of a worker that leaves")
    stall_timeout_s: float = Field(
        default=60, gt=0, description="a busy engine without a new token for so long is hung"
    )
    health_interval_s: float = Field(default=2, gt=0)
    judge_timeout_s: float = Field(default=30, gt=0, description="for one completion")
    parity_tolerance: float = Field(default=1e-4, gt=0, description="nats per token between learner and engine")


def engine_env(config: EngineConfig) -> dict[str, str]:
    """Environment variables that an engine's process must have before torch or vLLM is imported.

    In-process vLLM (no child processes: 4 s to start instead of 39 s), no thread pinning, and no just-in-time compiler
    on the CPU, where vLLM would start one (3.4 s and a C++ compiler) for the rank of a log-probability, read by nobody.
    """
    threads = str(config.threads)
    env = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
    }
    if config.device == "cpu":
        env |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "TORCHDYNAMO_DISABLE": "1"}
    return env


class TokenizerConfig(BaseModel):
    """Which tokenizer to make."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["quantity", "phrase", "byte-pair"] = "phrase"
    templates: tuple[Template, ...] = Field(
        default=TEMPLATES, min_length=1, description="quantity, phrase: whose words"
    )
    vocab_size: int = Field(
        default=2200, ge=266, description="byte-pair: most tokens; the others give their own number"
    )


Architecture = Literal["qwen2", "qwen3", "llama", "mistral", "olmo2"]


class PolicyConfig(BaseModel):
    """The architecture and size of a policy. The vocabulary is the tokenizer's and is given when it is built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = Field(default="qwen2", description="of transformers; the paper's is qwen2")
    layers: int = Field(default=4, ge=1)
    hidden: int = Field(default=128, ge=8, description="width of the residual stream")
    ffn: int = Field(default=512, ge=8, description="width of the gated feed-forward layer")
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=4, ge=1, description="key/value heads; fewer than heads is grouped-query attention")
    max_positions: int = Field(default=1024, ge=16, description="longest sequence in tokens")

    @model_validator(mode="after")
    def _divides(self) -> PolicyConfig:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(f"hidden ({self.hidden}) must be heads ({self.heads}) times an even head width")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self
