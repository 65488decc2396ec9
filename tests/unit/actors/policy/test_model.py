from __future__ import annotations

import json
from typing import get_args

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from actors.config import Architecture, PolicyConfig, TokenizerConfig
from actors.policy.architecture import ModelRefused
from actors.policy.model import build, forward_flops, load, save
from actors.policy.tokenizer import build_tokenizer

SMALL = PolicyConfig(layers=2, hidden=32, ffn=48, heads=4, kv_heads=2, max_positions=64)


def embedding(model: PreTrainedModel) -> torch.nn.Embedding:
    found = model.get_input_embeddings()
    assert isinstance(found, torch.nn.Embedding)
    return found


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    a, b, c = build(SMALL, 50, 1), build(SMALL, 50, 1), build(SMALL, 50, 2)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(embedding(a).weight, embedding(c).weight)


def test_a_policy_has_the_papers_shapes_and_a_tied_head():
    model = build(SMALL, 50, 0)
    attention = 32 * 32 + 2 * 32 * 16 + 32 * 32 + (32 + 16 + 16)
    block = attention + 3 * 32 * 48 + 2 * 32
    assert sum(p.numel() for p in model.parameters()) == 2 * block + 50 * 32 + 32


def test_flops_are_two_per_weight_and_four_per_visible_channel():
    config = build(SMALL, 50, 0).config
    weights = 2 * (32 * 32 * 2 + 2 * 32 * 16 + 3 * 32 * 48) + 50 * 32
    assert forward_flops(config)(10) == 2 * weights + 4 * 2 * 32 * 10


def test_flops_of_other_peoples_models_leave_out_an_untied_input_embedding():
    tied, untied = (
        LlamaConfig(vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, tie_word_embeddings=tie)
        for tie in (True, False)
    )  # fmt: skip
    assert forward_flops(tied)(7) == forward_flops(untied)(7) == forward_flops(build(SMALL, 50, 0).config)(7)


def test_flops_of_a_model_that_reads_images_too_see_by_its_text_part():
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "head_dim": 8,
            "num_key_value_heads": 2, "vocab_size": 50}  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    flops = forward_flops(AutoConfig.for_model("gemma3", text_config=text, vision_config=vision))
    assert flops(11) - flops(10) == 4 * 3 * 4 * 8


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_a_saved_policy_is_a_transformers_directory_that_loads_back(tmp_path, architecture):
    tokenizer = build_tokenizer(TokenizerConfig(templates=("zoo",)))
    model = build(SMALL.model_copy(update={"architecture": architecture}), len(tokenizer), 3)
    save(model, tokenizer, tmp_path)
    names = {p.name for p in tmp_path.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= names
    loaded = load(tmp_path)
    assert (loaded.config.model_type, model.config.model_type) == (architecture, architecture)
    head = loaded.get_output_embeddings()
    assert isinstance(head, torch.nn.Linear)
    assert head.weight is embedding(loaded).weight
    assert all(torch.equal(x, y) for x, y in zip(model.parameters(), loaded.parameters(), strict=True))
    ids = torch.tensor([[5, 6, 7, 8]])
    stock = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(stock(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("wrong", [{"hidden": 30}, {"kv_heads": 3}, {"layers": 0}, {"width": 3}])
def test_a_size_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        PolicyConfig(**{"heads": 4, "hidden": 32, **wrong})


def test_files_that_lack_weights_of_their_architecture_are_refused(tmp_path):
    build(SMALL, 50, 0).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3, "layer_types": None}))
    with pytest.raises(ModelRefused, match=r"lacks weights of a qwen2 model: model\.layers\.2"):
        load(tmp_path)
