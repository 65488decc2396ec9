"""What a recipe says about learning: the optimiser, and for RL the loss and how a batch is made of rollouts.

Defaults follow `docs/decisions/0020-learning-defaults.md`. Task and sampling settings stand elsewhere.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Loss = Literal["dapo", "grpo", "dr_grpo", "cispo", "reinforce"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerConfig(_Model):
    """AdamW, the learning rate's course, and how DeepSpeed lays the states out."""

    learning_rate: float = Field(gt=0, description="the peak")
    final_learning_rate: float = Field(0.0, ge=0, description="cosine: where it ends")
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0, description="steps of linear growth from 0")
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0.0, ge=0, description="on matrices; norms and biases are never decayed")
    gradient_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    zero_stage: Literal[0, 1, 2, 3] = Field(1, description="what DeepSpeed splits over the ranks")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="bfloat16 keeps float32 master weights")

    def rate_at(self, step: int, total_steps: int) -> float:
        """The learning rate of step `step` (from 0) of `total_steps`."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        share = min(1.0, (step - self.warmup_steps) / max(1, total_steps - self.warmup_steps))
        swing = (self.learning_rate - self.final_learning_rate) / 2
        return self.final_learning_rate + swing * (1 + math.cos(math.pi * share))


class LearningConfig(_Model):
    """How one RL step learns from its groups.

    The loss names fix the denominator too: dapo, cispo and reinforce divide by the tokens of the minibatch, grpo
    averages per completion first, dr_grpo divides by the number of completions times the longest one allowed.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-4, betas=(0.9, 0.999))
    loss: Loss = "dapo"
    clip_low: float = Field(0.2, gt=0, lt=1, description="ratio below 1 - clip_low has no gradient (advantage < 0)")
    clip_high: float = Field(0.28, gt=0, description="ratio above 1 + clip_high has no gradient (advantage > 0)")
    kl: float = Field(0.0, ge=0, description="weight of the KL to the policy that the stage started from")
    kl_estimator: Literal["k2", "k3"] = "k3"
    advantage_scale: Literal["none", "group", "batch"] = Field("none", description="divide by whose reward deviation")
    token_credit: float = Field(0.0, ge=0, description="weight of a step's own verdict on the tokens of that step")
    mismatch_cap: float = Field(2.0, ge=1, description="cap of the correction for tokens of an older or coarser policy")
    minibatches: int = Field(1, ge=1, description="optimiser updates per step")
    microbatch_tokens: int = Field(8192, ge=64, description="tokens per forward pass; bounds memory, not the result")
    max_completion_tokens: int = Field(512, ge=1, description="dr_grpo: the constant length it divides by")
