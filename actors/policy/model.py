"""The policy: a Qwen2 causal LM built from a small config, and what it costs.

The architecture is the paper's (Qwen2, tied embeddings, RMSNorm 1e-6, RoPE theta 1e6); only its size is ours to choose.
A policy is saved as a plain transformers directory, which is what vLLM and other people's tools load. This module does
not train, sample or know the task.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.utils import logging

from actors.config import PolicyConfig
from actors.policy.tokenizer import BOS, EOS, PAD

_ROPE_THETA: Final = 1e6
_PAPER_INIT_STD: Final = 0.02  # at the paper's width of 768
_PAPER_WIDTH: Final = 768


def build(config: PolicyConfig, vocab_size: int, seed: int) -> Qwen2ForCausalLM:
    """A freshly initialised policy in float32 on the CPU: the same (config, vocab_size, seed), the same bits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(_qwen2(config, vocab_size))
    return model.float().eval()


def load(directory: Path) -> Qwen2ForCausalLM:
    """The policy of a transformers directory in float32 on the CPU; safetensors only, no code from the directory."""
    model = Qwen2ForCausalLM.from_pretrained(
        directory, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    return model.eval()


def load_any(directory: Path) -> PreTrainedModel:
    """Anyone's causal language model of a transformers directory, in float32; safetensors only, no code from there."""
    return AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
    ).eval()


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write the files of a transformers directory: weights (one safetensors), config, tokenizer."""
    logging.disable_progress_bar()  # of one file, in the middle of a log
    model.save_pretrained(directory, safe_serialization=True, max_shard_size="100GB")
    tokenizer.save_pretrained(directory)


def block_parameters(model: Qwen2ForCausalLM) -> int:
    """Parameters of the transformer blocks alone: what the paper calls the model's size in its compute formulas."""
    return sum(p.numel() for p in model.model.layers.parameters())


def total_parameters(model: Qwen2ForCausalLM) -> int:
    """All distinct parameters; the tied head is counted once."""
    return sum(p.numel() for p in model.parameters())


def forward_flops(config: PreTrainedConfig) -> Callable[[float], float]:
    """FLOPs of one forward pass per token, as a function of the positions it sees on average; training costs thrice.

    Two per weight of every matrix product (the head included, embedding look-ups not) and four per visible position
    and channel of attention. Of any causal language model: its shapes are read from a skeleton without weights.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    looked_up = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    looked_up -= {id(model.get_output_embeddings().weight)}
    weights = sum(p.numel() for p in model.parameters() if p.ndim > 1 and id(p) not in looked_up)
    channels = config.num_hidden_layers * config.hidden_size
    return lambda context: 2.0 * weights + 4.0 * channels * context


def config_of(directory: Path) -> PreTrainedConfig:
    """The model's configuration in a transformers directory."""
    return AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)


def _qwen2(config: PolicyConfig, vocab_size: int) -> Qwen2Config:
    return Qwen2Config(
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
        use_sliding_window=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
