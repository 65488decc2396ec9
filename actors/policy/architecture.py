"""Which architectures can be trained here, and why another cannot.

The learner computes on packed streams: it gives transformers' attention its own layout and applies the output head
itself. That is right for a decoder with full causal attention whose logits are the head's product, which covers Qwen2,
Qwen3, Llama, Mistral, OLMo 2 and others. What departs from it is refused here by name, from the configuration alone:
of a model that reads more than text, from the part of it that describes its language model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
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
    """The positions that the model of a transformers directory has. Raises ModelRefused where it names none."""
    try:
        usual = json.loads((directory / "config.json").read_bytes()).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        usual = None  # config_of says what is wrong with the file
    if isinstance(usual, int):
        return usual
    config = config_of(directory)  # loads torch
    positions = _number(config.get_text_config(), "max_position_embeddings")
    if positions is None or positions < 1:
        raise ModelRefused(
            f"{directory}/config.json gives no max_position_embeddings, so how long a text its {config.model_type} "
            "model takes is not known"
        )
    return int(positions)


def require_trainable(config: PreTrainedConfig) -> None:
    """Raises ModelRefused where the learner would compute something else than the model."""
    reason = _reason_against(config)
    if reason is not None:
        raise ModelRefused(f"the learner cannot train a {config.model_type} model of this configuration: {reason}")


def _reason_against(config: PreTrainedConfig) -> str | None:
    text = config.get_text_config()
    for part in _parts(text):
        for name in _EXPERTS:
            if (_number(part, name) or 0) > 1:
                return f"{name} is {getattr(part, name)}, and training a router of experts is not supported"
    for name in _SOFTCAPS:
        if _number(text, name) is not None:
            return f"{name} is set, and packed attention caps no logits"
    for name in _LOGIT_SCALES:
        if _number(text, name) not in (None, 1):
            return f"{name} is {getattr(text, name)}, and the learner does not scale logits"
    if any(getattr(part, "quantization_config", None) is not None for part in (config, text)):
        return "its weights are quantized; take the model it was made from"
    return _reason_against_attention(text) or _reason_against_class(config)


def _parts(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    """A configuration and those inside it: DBRX keeps its experts in one of its own."""
    from transformers import PreTrainedConfig

    yield config
    yield from (value for value in vars(config).values() if isinstance(value, PreTrainedConfig))


def _reason_against_attention(config: PreTrainedConfig) -> str | None:
    # BERT and its kin are encoders unless they are told to decode. GPT-NeoX has `is_decoder` too and never reads it.
    encoder = hasattr(config, "add_cross_attention") and not getattr(config, "is_decoder", True)
    if encoder or getattr(config, "use_bidirectional_attention", None) in (True, "all"):
        return "its attention sees later tokens, and a policy writes one token after another"
    kinds: set[str] = set(getattr(config, "layer_types", None) or ())
    strange = kinds - {"full_attention", "sliding_attention"}
    if strange:
        return f"it has layers of kind {', '.join(sorted(strange))}, and only full attention is supported"
    window = _window(config, kinds)
    if window is not None and window < getattr(config, "max_position_embeddings", math.inf):
        return f"its attention sees a sliding window of {window} tokens, and packed attention sees all earlier ones"
    return None


def _reason_against_class(config: PreTrainedConfig) -> str | None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if config.get_text_config() is not config:
        return "it reads more than text, and the learner takes models of text alone"
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
