"""What a recipe says about learning: the optimiser, the loss, and the stages of pre-training and RL.

Light to import: a recipe is checked before torch is loaded. Defaults follow `docs/decisions/0030-learning-defaults.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trainers.tasks import TaskConfig
from verifier.rewards.registry import Reward, Rewards

Loss = Literal["dapo", "grpo", "dr_grpo", "cispo", "reinforce"]
Objective = Loss | Literal["cross_entropy"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerConfig(_Model):
    """AdamW, the learning rate's course, and how DeepSpeed lays the states out."""

    learning_rate: float = Field(gt=0, description="the peak")
    final_learning_rate: float = Field(default=0.0, ge=0, description="cosine: where it ends")
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0, description="steps of linear growth from 0")
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=0.0, ge=0, description="on matrices; norms and biases are never decayed")
    gradient_norm: float = Field(default=1.0, gt=0, description="gradients are scaled down to this norm")
    zero_stage: Literal[0, 1, 2, 3] = Field(default=1, description="what DeepSpeed splits over the ranks")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16 keeps float32 master weights"
    )

    def rate_at(self, step: int, total_steps: int) -> float:
        """The learning rate of step `step` (from 0) of `total_steps`."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        share = min(1.0, (step - self.warmup_steps) / max(1, total_steps - self.warmup_steps))
        swing = (self.learning_rate - self.final_learning_rate) / 2
        return self.final_learning_rate + swing * (1 + math.cos(math.pi * share))


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Which objective, its clip range, and the pull to the reference."""

    objective: Objective
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl: float = 0.0
    kl_estimator: Literal["k2", "k3"] = "k3"


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """What a learner is made with; `total_steps` is what the learning rate's course is laid out for."""

    optimizer: OptimizerConfig
    loss: LossConfig
    total_steps: int
    mismatch_cap: float = 2.0


class PretrainConfig(_Model):
    """A pre- or mid-training stage."""

    tasks: TaskConfig
    steps: int = Field(ge=1, description="optimiser updates")
    documents_per_step: int = Field(ge=1, description="training texts per update")
    loss_on: Literal["all", "solution"] = Field(
        default="all", description="the paper's: all; solution spares noise and the head"
    )
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=2e-4, schedule="cosine", weight_decay=0.1)
    checkpoint_every: int = Field(ge=1, description="updates")
    keep_last: int = Field(default=20, ge=1, description="checkpoints of this stage to keep")
    report_every: int = Field(default=20, ge=1, description="updates between two lines of progress")
    microbatch_tokens: int = Field(
        default=4096, ge=64, description="tokens per forward pass; bounds memory, not the result"
    )

    def learner_config(self) -> LearnerConfig:
        """What the learner of this stage is made with."""
        return LearnerConfig(self.optimizer, LossConfig("cross_entropy"), self.steps)


class LearningConfig(_Model):
    """How one RL step learns from its groups.

    The loss names fix the denominator too: dapo, cispo and reinforce divide by the tokens of the minibatch, grpo
    averages per completion first, dr_grpo divides by the number of completions times the longest one allowed.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-4, betas=(0.9, 0.999))
    loss: Loss = "dapo"
    clip_low: float = Field(
        default=0.2, gt=0, lt=1, description="ratio below 1 - clip_low has no gradient (advantage < 0)"
    )
    clip_high: float = Field(
        default=0.28, gt=0, description="ratio above 1 + clip_high has no gradient (advantage > 0)"
    )
    kl: float = Field(default=0.0, ge=0, description="weight of the KL to the policy that the stage started from")
    kl_estimator: Literal["k2", "k3"] = "k3"
    advantage_scale: Literal["none", "group", "batch"] = Field(
        default="none", description="divide by whose reward deviation"
    )
    token_credit: float = Field(
        default=0.0, ge=0, description="weight of a step's own verdict on the tokens of that step"
    )
    mismatch_cap: float = Field(
        default=2.0, ge=1, description="cap of the correction for tokens of an older or coarser policy"
    )
    minibatches: int = Field(default=1, ge=1, description="optimiser updates per step")
    microbatch_tokens: int = Field(
        default=8192, ge=64, description="tokens per forward pass; bounds memory, not the result"
    )

    def learner_config(self, total_steps: int) -> LearnerConfig:
        """What the learner of an RL stage of `total_steps` steps is made with."""
        loss = LossConfig(self.loss, self.clip_low, self.clip_high, self.kl, self.kl_estimator)
        return LearnerConfig(self.optimizer, loss, total_steps, self.mismatch_cap)


class RlConfig(_Model):
    """Hyperparameters of an RL stage (defaults: `docs/decisions`, rl table of the paper where it gives one)."""

    tasks: TaskConfig
    curriculum: Literal["mixture", "edge"] = "mixture"
    steps: int = Field(ge=1, description="learner steps")
    prompts_per_step: int = Field(ge=1)
    group_size: int = Field(default=8, ge=2, description="completions per prompt; one alone has no advantage")
    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=1.0, gt=0)
    reward: Rewards = (Reward("strict"),)
    refills: int = Field(default=0, ge=0, description="replacements tried for a group whose rewards are all equal")
    max_staleness: int = Field(default=0, ge=0, le=8, description="versions; 0 is synchronous")
    checkpoint_every: int = Field(ge=1, description="learner steps")
    keep_last: int = Field(default=20, ge=1, description="checkpoints of this stage to keep, besides the best")
    learning: LearningConfig
