"""The vLLM end of the weight transport: a weight-transfer back end named "ray" for vLLM's own four-phase update.

It is given tensors that `object_store.fetch` has checked and loads them through vLLM's layerwise reload; it fetches
nothing and decides nothing. vLLM imports it in each process that holds a part of the model, to find `Receiver` there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import torch
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.layers.quantization.base_config import QuantizeMethodBase
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

TRANSFER: Final = "ray"
"""The back end's name in vLLM's factory."""


@dataclass
class NothingToInitialise(WeightTransferInitInfo):
    """Empty: each version carries references into the store, so engines need not meet beforehand."""


@dataclass
class CheckedTensors(WeightTransferUpdateInfo):
    """The named tensors of a version, checked; they may be read-only views and are only read."""

    tensors: Sequence[tuple[str, torch.Tensor]] = field(default_factory=tuple)


class RayWeightTransfer(WeightTransferEngine[NothingToInitialise, CheckedTensors]):
    """Loads checked tensors into the live model between two steps, on CPU and on GPU."""

    init_info_cls = NothingToInitialise
    update_info_cls = CheckedTensors
    supports_draft_weight_update = False

    def init_transfer_engine(self, init_info: NothingToInitialise) -> None:
        """Nothing to do."""

    def start_weight_update(self) -> None:
        """Put the model's loaders into reload mode."""
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, object]) -> None:
        """As the base class, but without its accelerator synchronise where there is no accelerator."""
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: CheckedTensors) -> None:
        """Load the tensors; each layer is processed and copied into its live storage once it is complete."""
        load_weights = cast("Any", self.model).load_weights  # every vLLM model has it; torch's Module does not
        load_weights((name, tensor.to(self.device)) for name, tensor in update_info.tensors)

    def finish_weight_update(self) -> None:
        """Complete the reload and repack the heads that a tied embedding feeds."""
        finalize_layerwise_reload(self.model, self.model_config)
        repack_tied_heads(self.model)

    def shutdown(self) -> None:
        """Nothing is held between updates."""


class Receiver:
    """What vLLM's workers extend. It adds nothing: to look it up is what brings the back end into their processes."""


if TRANSFER not in WeightTransferEngineFactory._registry:
    WeightTransferEngineFactory.register_engine(TRANSFER, RayWeightTransfer)


def repack_tied_heads(model: torch.nn.Module) -> None:
    """Run the post-load step of every LM head that shares its embedding's storage.

    vLLM 0.32 reloads a tied weight through the embedding only. On a CPU the head multiplies with a packed copy made at
    load time, which then keeps the old values: log-probabilities off by about 5.
    """
    embeddings = {
        cast("torch.Tensor", module.weight).data_ptr()
        for module in model.modules()
        if isinstance(module, VocabParallelEmbedding) and not isinstance(module, ParallelLMHead)
    }
    for module in model.modules():
        tied = isinstance(module, ParallelLMHead) and cast("torch.Tensor", module.weight).data_ptr() in embeddings
        if tied and isinstance(module.quant_method, QuantizeMethodBase):
            module.quant_method.process_weights_after_loading(module)
