"""What vLLM is told at its start, by device. Plain values: neither torch nor vLLM is imported.

Facts about vLLM 0.32 that are not on the page of its documentation are named beside the setting that follows from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from actors.config import EngineConfig
from actors.engines.memory import PREFILL_TOKENS, engine_memory, memory_share
from actors.policy.size import size_of_directory

MAX_TOP_LOGPROBS: Final = 20
_CPU_BLOCK_TOKENS: Final = 32  # the CPU default of 128 is longer than most prompts: nothing would be shared
# CUDA graphs of whole decoding steps without torch's compiler: seconds at start instead of half a minute.
_GRAPHS_ONLY: Final = {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"}


def vllm_settings(model_dir: Path, config: EngineConfig, card_bytes: int | None) -> dict[str, Any]:
    """The arguments of `EngineArgs`; `card_bytes` is the whole memory of the engine's card, None on a CPU."""
    always = {
        "model": str(model_dir),
        "skip_tokenizer_init": True,
        "trust_remote_code": False,
        "dtype": config.dtype,
        "enforce_eager": config.compiled is False,
        "max_num_seqs": config.max_open_requests,
        "kv_cache_memory_bytes": config.kv_cache_mib * 1024**2,
        "enable_prefix_caching": True,  # the samples of a group share their prompt's keys and values
        "tensor_parallel_size": config.tensor_parallel,
        "distributed_executor_backend": "uni" if config.tensor_parallel == 1 else "mp",
        "worker_extension_cls": "actors.weights.vllm_loader.Receiver",
        # What the policy drew with: after temperature and top-p, so that it is the behaviour policy's own.
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": MAX_TOP_LOGPROBS,
        "disable_log_stats": True,
        "seed": 0,
    }
    return always | (_on_cpu() if card_bytes is None else _on_gpu(model_dir, config, card_bytes))


def _on_cpu() -> dict[str, Any]:
    # Seeded sampling of a prompt that is split over steps fails in vLLM 0.32 on a CPU ("CPU Generator does not use
    # offset"), so prompts are prefilled whole there.
    return {"enable_chunked_prefill": False, "block_size": _CPU_BLOCK_TOKENS}


def _on_gpu(model_dir: Path, config: EngineConfig, card_bytes: int) -> dict[str, Any]:
    needed = engine_memory(size_of_directory(model_dir), config).total
    settings: dict[str, Any] = {
        "enable_chunked_prefill": True,
        "max_num_batched_tokens": max(PREFILL_TOKENS, config.max_open_requests),
        # kv_cache_memory_bytes sets the size of the cache, but not the check that so much of the card is free.
        "gpu_memory_utilization": memory_share(needed, card_bytes),
        "enable_flashinfer_autotune": False,  # minutes at start, for kernels that are not used here
    }
    if config.dtype != "float32":
        # The learner's head computes in float32, and logits are where a coarser dtype costs most.
        settings["hf_overrides"] = {"head_dtype": "float32"}
    if config.compiled == "graphs":
        settings["compilation_config"] = dict(_GRAPHS_ONLY)
    return settings
