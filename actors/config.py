"""Configuration of the acting side: one engine, and the fleet of workers around it.

A unit stands in brackets at the end of a description. The defaults run the tiny CPU job. This module reads no
environment: `engine_env` says what an engine's process needs, and whoever starts that process applies it.
"""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator


class EngineConfig(BaseModel):
    """One inference engine. The same fields serve a CPU and a GPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Literal["vllm", "torch"] = Field(
        default="vllm", description="what writes completions; torch is slow, for tests"
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="what the engine computes on")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="what weights and activations are computed in; float32 on a CPU"
    )
    threads: int = Field(
        default=1, ge=1, description="OpenMP threads; more than the process has cores is 20 times slower [threads]"
    )
    max_open_requests: int = Field(default=64, ge=1, description="decoded together; the rest wait [sequences]")
    kv_cache_mib: int = Field(default=256, ge=8, description="memory for keys and values [MiB]")
    compiled: bool | Literal["graphs"] = Field(
        default=False,
        description="GPU: graphs records CUDA graphs of decoding, in seconds; true compiles too, in half a minute",
    )
    tensor_parallel: int = Field(
        default=1,
        ge=1,
        description="share each layer of the model among so many processes, with a GPU each [processes of one engine]",
    )

    @model_validator(mode="after")
    def _only_vllm_shares(self) -> Self:
        if self.backend != "vllm" and self.tensor_parallel > 1:
            raise ValueError(f"tensor_parallel: only the backend vllm shares a model; {self.backend} takes 1")
        return self


class FleetConfig(BaseModel):
    """The fleet: how many workers, what each may use, how long each wait may last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rollout_workers: int = Field(
        default=1, ge=1, description="processes that write completions, an engine each [workers]"
    )
    reward_workers: int = Field(default=1, ge=1, description="processes that judge completions [workers]")
    rollout_cpus: float = Field(default=0.5, gt=0, description="what Ray reserves for a rollout worker [cores]")
    rollout_gpus: float = Field(default=0, ge=0, description="what Ray reserves for a rollout worker [GPUs]")
    reward_cpus: float = Field(default=0.1, gt=0, description="what Ray reserves for a reward worker [cores]")
    max_restarts: int = Field(default=8, ge=0, description="before a worker is retired [replacements of one worker]")
    restart_backoff_s: float = Field(
        default=0.5,
        ge=0,
        description="before the first replacement of a worker; doubles each time, ten times at most [seconds]",
    )
    fetch_timeout_s: float = Field(default=30, gt=0, description="weight sync: until the bytes have come [seconds]")
    load_timeout_s: float = Field(default=30, gt=0, description="weight sync: until the engine holds them [seconds]")
    stall_timeout_s: float = Field(
        default=60,
        gt=0,
        description="a busy engine without a new token, or any worker without an answer, for so long counts as hung; "
        "a reward worker has judge_timeout_s more [seconds]",
    )
    health_interval_s: float = Field(default=2, gt=0, description="between two looks at a worker's health [seconds]")
    judge_timeout_s: float = Field(
        default=30, gt=0, description="for one completion; a judge that takes longer is ended [seconds]"
    )
    parity_tolerance: float | None = Field(
        default=None,
        gt=0,
        description="how far an engine may be from the learner; by default as far as their dtypes let it "
        "[nats per token]",
    )


def require_gpus(engine: EngineConfig, fleet: FleetConfig) -> None:
    """Raises ValueError unless a rollout worker has the GPUs that its engine computes on."""
    if engine.device != "cuda":
        return
    if not fleet.rollout_gpus:
        raise ValueError(
            "fleet.rollout_gpus: engine.device cuda needs a GPU for each rollout worker, or a share of one; "
            "without it Ray hides all GPUs from the worker"
        )
    if 1 < engine.tensor_parallel != fleet.rollout_gpus:
        raise ValueError(
            f"fleet.rollout_gpus: the {engine.tensor_parallel} processes of an engine (engine.tensor_parallel) need a "
            f"GPU each: set it to {engine.tensor_parallel}"
        )


def engine_env(config: EngineConfig) -> dict[str, str]:
    """Environment variables that an engine's process must have before torch or vLLM is imported.

    vLLM's scheduler in that process itself: 4 s to start instead of 39 s. On the CPU no thread pinning and no
    just-in-time compiler, which vLLM would start (3.4 s and a C++ compiler) for the rank of a log-probability, read by
    nobody. On a GPU none of FlashInfer's samplers, which are downloaded or compiled at first use, an address for a
    machine without a network, and the lines of the log that name the attention back end.
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
        return env | {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "TORCHDYNAMO_DISABLE": "1"}
    return env | {
        "VLLM_LOGGING_LEVEL": "INFO",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "VLLM_HOST_IP": "127.0.0.1",
    }


TemplateName = Literal["zoo", "school", "movie"]  # those of the op-graph problems


class TokenizerConfig(BaseModel):
    """Which tokenizer to make."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["quantity", "phrase", "byte-pair"] = Field(
        default="phrase",
        description="a token for each quantity, or for each phrase of the templates, or byte pairs of the gold texts",
    )
    templates: tuple[TemplateName, ...] = Field(
        default=get_args(TemplateName),
        min_length=1,
        description="quantity, phrase: the templates whose words it knows",
    )
    vocab_size: int = Field(
        default=2200, ge=266, description="byte-pair: at most so many; the other kinds have their own number [tokens]"
    )


Architecture = Literal["qwen2", "qwen3", "llama", "mistral", "olmo2"]


class PolicyConfig(BaseModel):
    """The architecture and size of a policy. The vocabulary is the tokenizer's and is given when it is built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = Field(default="qwen2", description="of transformers; arXiv 2512.07783 has qwen2")
    layers: int = Field(default=4, ge=1, description="depth [layers]")
    hidden: int = Field(default=128, ge=8, description="width of the residual stream [numbers]")
    ffn: int = Field(default=512, ge=8, description="width of the gated feed-forward layer [numbers]")
    heads: int = Field(default=4, ge=1, description="of attention [heads]")
    kv_heads: int = Field(
        default=4, ge=1, description="of keys and values; fewer than heads is grouped-query attention [heads]"
    )
    max_positions: int = Field(default=1024, ge=16, description="longest sequence [tokens]")

    @model_validator(mode="after")
    def _divides(self) -> PolicyConfig:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(f"hidden ({self.hidden}) must be heads ({self.heads}) times an even head width")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self
