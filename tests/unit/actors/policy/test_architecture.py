from __future__ import annotations

import pytest
from transformers import AutoConfig

from actors.policy.architecture import ModelRefused, config_of, require_trainable


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("mistral", {"sliding_window": 64}, "sliding window of 64 tokens"),
        ("mistral", {}, "sliding window of 4096 tokens"),  # what transformers takes where the file says nothing
        ("qwen2", {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1}, "sliding window of 64"),
        ("gemma2", {}, "final_logit_softcapping|attn_logit_softcapping"),
        ("gemma3_text", {}, "sliding window"),
        ("cohere", {}, "logit_scale is 0.0625"),
        ("granite", {"logits_scaling": 8.0}, r"logits_scaling is 8\.0"),
        ("mixtral", {}, "num_experts is 8"),
        ("qwen3_moe", {}, "num_experts is 128"),
        ("qwen3_next", {"num_experts": 0}, "layers of kind linear_attention"),
        ("mamba", {}, "layers of kind linear_attention"),
        ("rwkv", {}, "does not take an attention implementation"),
        ("llama", {"quantization_config": {"quant_method": "awq", "bits": 4}}, "its weights are quantized"),
    ],
)
def test_a_model_that_packing_would_change_is_refused_by_name_and_reason(kind, changes, reason):
    config = AutoConfig.for_model(kind, **changes)
    with pytest.raises(ModelRefused, match=f"a {kind} model of this configuration: .*({reason})"):
        require_trainable(config)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("qwen2", {}),
        ("qwen3", {}),
        ("llama", {}),
        ("olmo2", {}),
        ("granite", {}),
        ("mistral", {"sliding_window": None}),
        ("mistral", {"sliding_window": 4096, "max_position_embeddings": 4096}),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 64}),
    ],
)
def test_a_model_that_attends_to_all_earlier_tokens_is_accepted(kind, changes):
    require_trainable(AutoConfig.for_model(kind, **changes))


def test_a_directory_that_is_no_causal_language_model_is_named(tmp_path):
    AutoConfig.for_model("vit").save_pretrained(tmp_path)
    with pytest.raises(ModelRefused, match=f"{tmp_path} holds a vit model"):
        config_of(tmp_path)
    for broken in ("{", '{"model_type": "qwen2", "num_hidden_layers": 3, "layer_types": []}'):
        (tmp_path / "config.json").write_text(broken)
        with pytest.raises(ModelRefused, match=r"config\.json cannot be read"):
            config_of(tmp_path)
