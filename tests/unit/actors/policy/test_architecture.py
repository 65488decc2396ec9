from __future__ import annotations

import pytest
from transformers import AutoConfig

from actors.policy.architecture import ModelRefused, config_of, context_of, require_trainable


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
        ("gemma3", {"text_config": {"sliding_window": 1024}}, "sliding window of 1024"),  # as it is published
        ("gemma3", {"text_config": {"sliding_window": 64, "max_position_embeddings": 64}}, "reads more than text"),
        ("gemma3_text", {"sliding_window": 131072, "use_bidirectional_attention": True}, "sees later tokens"),
        ("llama4", {"text_config": {"num_local_experts": 16}}, "num_local_experts is 16"),
        ("dbrx", {"ffn_config": {"moe_num_experts": 16}}, "moe_num_experts is 16"),
        ("bert", {}, "sees later tokens"),
        ("roberta", {}, "sees later tokens"),
        ("bert-generation", {}, "sees later tokens"),
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
        ("gpt2", {}),
        ("gpt_neox", {}),  # whose is_decoder is false, and which is one
        ("bert", {"is_decoder": True}),
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


@pytest.mark.parametrize(
    ("kind", "changes", "positions"),
    [
        ("qwen2", {"max_position_embeddings": 512}, 512),
        ("gpt2", {"n_positions": 128}, 128),
        ("gemma3", {"text_config": {"max_position_embeddings": 256}}, 256),
        ("bloom", {}, None),
        ("xlnet", {}, None),  # which says -1
    ],
)
def test_the_context_is_read_wherever_the_configuration_keeps_it(tmp_path, kind, changes, positions):
    AutoConfig.for_model(kind, **changes).save_pretrained(tmp_path)
    if positions is not None:
        assert context_of(tmp_path) == positions
        return
    with pytest.raises(ModelRefused, match=rf"{tmp_path}/config\.json gives no max_position.* {kind} model"):
        context_of(tmp_path)
