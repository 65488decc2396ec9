"""Which architectures can be trained here, and why another cannot.

The learner computes on packed streams: it gives transformers' attention its own layout and applies the output head
itself. That is right for a decoder with full causal attention whose logits are the head's product, which covers Qwen2,
Qwen3, Llama, Mistral, OLMo 2 and others. What departs from it is refused here by name, from the configuration alone.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from verifier.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_EXPERTS: Final = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_SOFTCAPS: Final = ("attn_logit_softcapping", "final_logit_softcapping")
_LOGIT_SCALES: Final = ("logit_scale", "logits_scaling", "lm_head_multiplier")


class ModelRefused(UserError):
    """A model that cannot be used; the message names it, its architecture and the reason."""

    fix = "Name another model, or correct its files."


def config_of(directory: Path) -> PreTrainedConfig:
    """The model's configuration in a transformers directory; no code from there. Raises ModelRefused."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig  # loads torch
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (StrictDataclassError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelRefused(f"{directory}/config.json cannot be read by transformers: {reason}") from error
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelRefused(f"{directory} holds a {config.model_type} model, which is no causal language model")
    return config


def context_of(directory: Path) -> int:
    """The positions that the model of a transformers directory has. Raises ModelRefused."""
    try:
        usual = json.loads((directory / "config.json").read_bytes()).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        usual = None  # config_of says what is wrong with the file
    return usual if isinstance(usual, int) else config_of(directory).max_position_embeddings  # which loads torch


def require_trainable(config: PreTrainedConfig) -> None:
    """Raises ModelRefused where the learner would compute something else than the model."""
    reason = _reason_against(config)
    if reason is not None:
        raise ModelRefused(f"the learner cannot train a {config.model_type} model of this configuration: {reason}")


def _reason_against(config: PreTrainedConfig) -> str | None:
    for name in _EXPERTS:
        if (_number(config, name) or 0) > 1:
            return f"{name} is {getattr(config, name)}, and training a router of experts is not supported"
    for name in _SOFTCAPS:
        if _number(config, name) is not None:
            return f"{name} is set, and packed attention caps no logits"
    for name in _LOGIT_SCALES:
        if _number(config, name) not in (None, 1):
            return f"{name} is {getattr(config, name)}, and the learner does not scale logits"
    if getattr(config, "quantization_config", None) is not None:
        return "its weights are quantized; take the model it was made from"
    return _reason_against_attention(config)


def _reason_against_attention(config: PreTrainedConfig) -> str | None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    kinds: set[str] = set(getattr(config, "layer_types", None) or ())
    strange = kinds - {"full_attention", "sliding_attention"}
    if strange:
        return f"it has layers of kind {', '.join(sorted(strange))}, and only full attention is supported"
    window = _window(config, kinds)
    if window is not None and window < getattr(config, "max_position_embeddings", math.inf):
        return f"its attention sees a sliding window of {window} tokens, and packed attention sees all earlier ones"
    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if not model_class._supports_attention_backend:
        return "its code in transformers does not take an attention implementation by name"
    return None


def _window(config: PreTrainedConfig, kinds: set[str]) -> int | None:
    """The attention window in tokens, where any layer has one."""
    if (kinds and "sliding_attention" not in kinds) or getattr(config, "use_sliding_window", None) is False:
        return None
    window = _number(config, "sliding_window")
    return None if window is None else int(window)


def _number(config: PreTrainedConfig, name: str) -> float | None:
    value = getattr(config, name, None)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
