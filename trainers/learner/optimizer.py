"""The optimiser of a learner: AdamW with a guard, its groups of parameters, and what DeepSpeed is told about it."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from transformers import PreTrainedModel

from trainers.config import OptimizerConfig


class GuardedAdamW(torch.optim.AdamW):
    """AdamW that skips and counts an update whose gradient is not finite on some rank.

    With `clip_to` it also clips gradients, which under ZeRO DeepSpeed does; `norm` is then the norm before clipping.
    """

    skipped = 0
    clip_to: float | None = None
    norm = math.nan

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update, unless it is skipped."""
        if self.clip_to is not None:
            parameters = [p for group in self.param_groups for p in group["params"]]
            self.norm = nn.utils.clip_grad_norm_(parameters, self.clip_to).item()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        finite = torch.stack([g.isfinite().all() for g in gradients]).all().int() if gradients else torch.tensor(1)
        if dist.get_world_size() > 1:
            dist.all_reduce(finite, op=dist.ReduceOp.MIN)
        if finite.item():
            super().step()
        else:
            self.skipped += 1


def decay_groups(policy: PreTrainedModel, weight_decay: float) -> list[dict[str, Any]]:
    """The parameter groups: matrices with weight decay, norms and biases without."""
    matrices = [p for p in policy.parameters() if p.ndim > 1]
    others = [p for p in policy.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def deepspeed_config(config: OptimizerConfig) -> dict[str, Any]:
    """The configuration of DeepSpeed's engine."""
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": config.gradient_norm if config.zero_stage else 0.0,
        "zero_optimization": {"stage": config.zero_stage, "overlap_comm": False},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": config.precision == "bfloat16"},
        "steps_per_print": None,
        "wall_clock_breakdown": False,
    }
    if config.precision == "bfloat16":
        # Gradients of microbatches would be added in bfloat16. With float32 sums DeepSpeed's stage 1 is another
        # optimiser, without unmanaged accumulation; stage 2 splits the same states, and the sums as well.
        settings["data_types"] = {"grad_accum_dtype": "fp32"}
        settings["zero_optimization"]["stage"] = max(2, config.zero_stage)
    return settings
