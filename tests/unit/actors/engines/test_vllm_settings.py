"""What vLLM is told on a CPU and on a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from actors.config import EngineConfig, PolicyConfig, engine_env
from actors.engines.memory import GIB, engine_memory, memory_share
from actors.engines.vllm_settings import vllm_settings
from actors.policy.size import ModelSize, size_of_policy

PAPER = size_of_policy(PolicyConfig(layers=12, hidden=768, ffn=3072, heads=12, kv_heads=2), 2200)
GPU = EngineConfig(device="cuda", dtype="bfloat16", max_open_requests=512, kv_cache_mib=8192)
CARD = 80 * GIB


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    names = {"vocab_size": 2200, "num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072}
    heads = {"num_attention_heads": 12, "num_key_value_heads": 2, "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(names | heads))
    return tmp_path


def test_an_engine_asks_its_card_for_what_it_needs_and_not_for_all_of_it(model_dir: Path) -> None:
    settings = vllm_settings(model_dir, GPU, CARD)
    needed = engine_memory(PAPER, GPU)
    assert needed.cache == 8 * GIB
    assert 10 * GIB < needed.total < 12 * GIB
    assert needed.total <= settings["gpu_memory_utilization"] * CARD < needed.total + CARD / 500
    assert settings["kv_cache_memory_bytes"] == 8 * GIB


def test_a_large_vocabulary_costs_logits_and_a_float32_head() -> None:
    wide = ModelSize(151_936, 12, 768, 3072, 12, 2, 64, tied=True)
    more = engine_memory(wide, GPU).total - engine_memory(PAPER, GPU).total
    numbers = (wide.vocab - PAPER.vocab) * (768 * (2 + 4) / 1 + 512 * 4 * 4)
    assert more == pytest.approx(numbers)


def test_processes_that_share_a_model_hold_a_part_of_its_weights_and_a_cache_each(model_dir: Path) -> None:
    whole, shared = GPU, GPU.model_copy(update={"tensor_parallel": 2})
    alone, each = engine_memory(PAPER, whole), engine_memory(PAPER, shared)
    assert each.weights == alone.weights // 2
    assert each.cache == alone.cache
    told = vllm_settings(model_dir, shared, CARD)
    assert (told["tensor_parallel_size"], told["distributed_executor_backend"]) == (2, "mp")
    assert vllm_settings(model_dir, whole, CARD)["distributed_executor_backend"] == "uni"


def test_only_vllm_shares_a_model() -> None:
    with pytest.raises(ValidationError, match="tensor_parallel: only the backend vllm shares a model; torch takes 1"):
        EngineConfig(backend="torch", tensor_parallel=2)


def test_a_share_is_never_more_than_the_card() -> None:
    assert memory_share(3 * GIB, 80 * GIB) == 0.038
    assert memory_share(100 * GIB, 80 * GIB) == 1.0


def test_a_gpu_engine_keeps_its_head_in_float32_unless_all_of_it_is(model_dir: Path) -> None:
    assert vllm_settings(model_dir, GPU, CARD)["hf_overrides"] == {"head_dtype": "float32"}
    exact = GPU.model_copy(update={"dtype": "float32"})
    assert "hf_overrides" not in vllm_settings(model_dir, exact, CARD)


@pytest.mark.parametrize(
    ("compiled", "eager", "graphs"), [(False, True, False), (True, False, False), ("graphs", False, True)]
)
def test_the_three_ways_to_run_a_model(model_dir: Path, compiled: bool | str, eager: bool, graphs: bool) -> None:
    config = EngineConfig.model_validate({**GPU.model_dump(), "compiled": compiled})
    settings = vllm_settings(model_dir, config, CARD)
    assert settings["enforce_eager"] is eager
    told = settings.get("compilation_config")
    assert told == ({"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"} if graphs else None)


def test_a_cpu_engine_reads_no_model_and_prefills_prompts_whole(tmp_path: Path) -> None:
    settings = vllm_settings(tmp_path, EngineConfig(), None)
    assert settings["enable_chunked_prefill"] is False
    assert settings["enforce_eager"] is True
    assert not {"gpu_memory_utilization", "hf_overrides", "max_num_batched_tokens"} & settings.keys()


def test_a_gpu_engine_compiles_no_sampler_and_needs_no_network() -> None:
    env = engine_env(GPU)
    assert (env["VLLM_USE_FLASHINFER_SAMPLER"], env["VLLM_HOST_IP"]) == ("0", "127.0.0.1")
    assert env["VLLM_LOGGING_LEVEL"] == "INFO"
    assert "TORCHDYNAMO_DISABLE" not in env
    on_cpu = engine_env(EngineConfig())
    assert (on_cpu["VLLM_LOGGING_LEVEL"], on_cpu["TORCHDYNAMO_DISABLE"]) == ("ERROR", "1")
