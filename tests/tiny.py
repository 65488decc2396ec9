"""A tiny policy for tests of engines, workers and learners: 0.9M parameters, tied embeddings, random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedModel

from actors.config import EngineConfig, PolicyConfig
from actors.policy.model import build

VOCAB = 600
POLICY = PolicyConfig(layers=4, hidden=128, ffn=384, heads=4, kv_heads=2, max_positions=512)
ENGINE = EngineConfig(kv_cache_mib=64)
PROMPT = tuple(range(20, 110))


def tiny_model(seed: int, scale: float = 1.0) -> PreTrainedModel:
    """A policy of the tiny size; `scale` sharpens it, so that two seeds differ by whole nats."""
    model = build(POLICY, VOCAB, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def save_tiny(directory: Path, seed: int = 0) -> Path:
    """Write the tiny policy as a transformers directory."""
    tiny_model(seed).save_pretrained(directory)
    return directory
