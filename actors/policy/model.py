"""The policy: a causal language model of transformers, built from a small config or loaded, and what it costs.

A policy built here has the paper's proportions (tied embeddings, RMSNorm 1e-6, RoPE theta 1e6) in the architecture that
the recipe names. It is saved as a plain transformers directory, which vLLM and other people's tools load. This module
does not train, sample or know the task.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from actors.config import PolicyConfig
from actors.policy.architecture import ModelRefused
from actors.policy.tokenizer import BOS, EOS, PAD

_ROPE_THETA: Final = 1e6
_PAPER_INIT_STD: Final = 0.02  # at the paper's width of 768
_PAPER_WIDTH: Final = 768


def build(config: PolicyConfig, vocab_size: int, seed: int) -> PreTrainedModel:
    """A freshly initialised policy in float32 on the CPU: the same (config, vocab_size, seed), the same bits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(architecture(config, vocab_size))
    return model.float().eval()


def load(directory: Path) -> PreTrainedModel:
    """The model of a transformers directory in float32 on the CPU; safetensors only, no code from the directory.

    Raises ModelRefused where the files lack weights of the architecture: transformers would draw them at random.
    """
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    model, found = loaded
    if found["missing_keys"]:
        lacking = ", ".join(sorted(found["missing_keys"])[:3])
        raise ModelRefused(f"{directory} lacks weights of a {model.config.model_type} model: {lacking}")
    return model.eval()


def in_dtype(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its parameters in a dtype. Buffers keep theirs: 16-bit rotary frequencies give wrong angles."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write the files of a transformers directory: weights (one safetensors), config, tokenizer."""
    logging.disable_progress_bar()  # of one file, in the middle of a log
    model.save_pretrained(directory, safe_serialization=True, max_shard_size="100GB")
    tokenizer.save_pretrained(directory)


def forward_flops(config: PreTrainedConfig) -> Callable[[float], float]:
    """FLOPs of one forward pass per token, by the positions it sees on average; training costs three times that.

    Two per weight of every matrix product (the head included, embedding look-ups not) and four per visible position
    and channel of attention. Of any causal language model: its shapes are read from a skeleton without weights. Of one
    that reads images as well, the weights for those are counted too.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    looked_up = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    looked_up -= {id(model.get_output_embeddings().weight)}
    weights = sum(p.numel() for p in model.parameters() if p.ndim > 1 and id(p) not in looked_up)
    text = config.get_text_config()
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    channels = text.num_hidden_layers * text.num_attention_heads * head_width
    return lambda context: 2.0 * weights + 4.0 * channels * context


def architecture(config: PolicyConfig, vocab_size: int) -> PreTrainedConfig:
    """transformers' configuration of the architecture that `config` names."""
    own = {
        "qwen2": {"use_sliding_window": False},
        "qwen3": {"use_sliding_window": False, "head_dim": config.hidden // config.heads},
        "llama": {},
        "mistral": {"sliding_window": None},
        "olmo2": {},
    }
    return AutoConfig.for_model(
        config.architecture,
        vocab_size=vocab_size,
        hidden_size=config.hidden,
        intermediate_size=config.ffn,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        max_position_embeddings=config.max_positions,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_THETA},
        tie_word_embeddings=True,
        # Grows as the width shrinks: with 0.02 at width 128, copying a letter takes ten times the tokens to learn.
        initializer_range=_PAPER_INIT_STD * (_PAPER_WIDTH / config.hidden) ** 0.5,
        attention_dropout=0.0,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        **own[config.architecture],
    )
