"""The policy on packed streams: any causal language model of transformers, with our attention and a float32 head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.policy.architecture import ModelRefused, require_trainable
from actors.weights.parity import parity_tokens
from trainers.learner.attention import PACKED, layout_of
from trainers.learner.memory import MOST_LOGITS
from trainers.learner.packing import Document, pack_documents
from trainers.learner.target_logprobs import target_logprobs
from trainers.records import Stream

_TOLERANCE: Final = 1e-4  # nats per token; rounding is about 1e-6
_PROOF_TOKENS: Final = 24


class PackedPolicy(nn.Module):
    """The policy as the engine runs it: a stream in, log-probabilities and entropies of its targets out.

    It changes the model. Dropout is turned off, so that the policy is the one that drew the tokens. More than
    `most_logits` logits are computed in pieces, so that they do not live until the backward pass.
    """

    def __init__(self, policy: PreTrainedModel, most_logits: int = MOST_LOGITS) -> None:
        super().__init__()
        self.policy = policy
        self._most_logits = most_logits
        policy.set_attn_implementation(PACKED)
        policy.set_output_embeddings(Float32Head(policy.get_output_embeddings()))
        for module in policy.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def forward(self, stream: Stream, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Log-probability (with gradient) and entropy (without) of each target at a temperature, [N] float32."""
        device = self.policy.device
        hidden = self.policy.base_model(
            input_ids=_tensor(stream.input_ids, device)[None],
            position_ids=_tensor(stream.positions, device)[None],
            # transformers passes a mask of four dimensions on unchanged; packed attention reads the layout instead.
            attention_mask=torch.empty(1, 1, 0, 0, device=device),
            use_cache=False,
            layout=layout_of(stream, device, self.policy.dtype),
        ).last_hidden_state[0]
        sources = hidden.index_select(0, _tensor(stream.sources, device))
        targets = _tensor(stream.targets, device)
        head = cast("Float32Head", self.policy.get_output_embeddings())
        if len(targets) * self.policy.config.vocab_size > self._most_logits:
            return head(sources, Targets(targets, temperature, self._most_logits))
        logprobs = torch.log_softmax(head(sources) / temperature, dim=-1)
        with torch.no_grad():
            entropy = -(logprobs.exp() * logprobs).sum(-1)
        return logprobs.gather(1, targets[:, None]).squeeze(1), entropy


@dataclass(frozen=True, slots=True)
class Targets:
    """Asks the head for log-probabilities and entropies of targets [N], in pieces of at most so many logits."""

    token_ids: Tensor
    temperature: float
    most_logits: int


class Float32Head(nn.Module):
    """The language model head, always in float32: bfloat16 logits lose more accuracy than everything else together.

    It is a module, because ZeRO-3 gathers parameters per module.
    """

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.weight: nn.Parameter = head.weight
        self.bias: nn.Parameter | None = head.bias

    def forward(self, hidden: Tensor, targets: Targets | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [N, vocabulary], or the log-probabilities and entropies of the targets, [N] each."""
        if targets is not None:
            asked = targets.token_ids, targets.temperature, targets.most_logits
            return target_logprobs(hidden, self.weight, self.bias, *asked)
        bias = None if self.bias is None else self.bias.float()
        return nn.functional.linear(hidden.float(), self.weight.float(), bias)


def proved(policy: PreTrainedModel) -> PackedPolicy:
    """The packed policy of a model, after a check that it gives two packed texts the model's own log-probabilities.

    Raises ModelRefused if the configuration or that check shows that packing changes what the model computes.
    """
    require_trainable(policy.config)
    tokens = parity_tokens(policy.config, _PROOF_TOKENS)
    texts = (tokens[: _PROOF_TOKENS // 3], tokens[_PROOF_TOKENS // 3 :])
    with torch.no_grad():
        own = torch.cat([_own_logprobs(policy, text) for text in texts])
        packed = PackedPolicy(policy)
        (stream,) = pack_documents([Document(text, 1) for text in texts], _PROOF_TOKENS).streams
        difference = (packed(stream)[0] - own).abs().max().item()
    if not difference <= _TOLERANCE:
        name = policy.config.model_type
        raise ModelRefused(f"the learner cannot train this {name} model: packed, its log-probabilities are off by "
                           f"{difference:.2g} nats")  # fmt: skip
    return packed


def _own_logprobs(policy: PreTrainedModel, tokens: tuple[int, ...]) -> Tensor:
    ids = torch.tensor([tokens], device=policy.device)
    logits = policy(input_ids=ids, use_cache=False).logits[0, :-1].float()
    return torch.log_softmax(logits, dim=-1).gather(1, ids[0, 1:, None]).squeeze(1)


def _tensor(array: Any, device: torch.device) -> Tensor:
    return torch.tensor(array, device=device)
