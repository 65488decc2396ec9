"""The size of a policy: what decides its memory. Plain arithmetic on a configuration, without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.config import PolicyConfig
from actors.policy.architecture import ModelRefused


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The dimensions of a decoder. `tied` says whether its head is its embedding."""

    vocab: int
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_width: int
    tied: bool

    @property
    def parameters(self) -> int:
        """The numbers in the matrices. Norms and biases are left out: they are less than one in a hundred."""
        attention = 2 * self.hidden * self.head_width * (self.heads + self.kv_heads)
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * (attention + 3 * self.hidden * self.ffn)

    def shared_by(self, processes: int) -> bool:
        """Whether so many processes can share each layer evenly; heads of keys and values may be held twice."""
        few, many = sorted((self.kv_heads, processes))
        return not (self.heads % processes or self.ffn % processes or many % few)


def size_of_policy(config: PolicyConfig, vocab: int) -> ModelSize:
    """The size of a policy that a recipe builds."""
    return ModelSize(
        vocab=vocab,
        layers=config.layers,
        hidden=config.hidden,
        ffn=config.ffn,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_width=config.hidden // config.heads,
        tied=True,
    )


def size_of_directory(directory: Path) -> ModelSize:
    """The size of the model in a transformers directory, from its config.json. Raises ModelRefused."""
    try:
        given: dict[str, Any] = json.loads((directory / "config.json").read_bytes())
        heads = int(given["num_attention_heads"])
        return ModelSize(
            vocab=int(given["vocab_size"]),
            layers=int(given["num_hidden_layers"]),
            hidden=int(given["hidden_size"]),
            ffn=int(given["intermediate_size"]),
            heads=heads,
            kv_heads=int(given.get("num_key_value_heads") or heads),
            head_width=int(given.get("head_dim") or given["hidden_size"] // heads),
            tied=bool(given.get("tie_word_embeddings", False)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelRefused(f"{directory}/config.json does not give the sizes of a decoder: {error!r}") from error
