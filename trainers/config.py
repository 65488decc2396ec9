"""What a recipe says about learning: the optimiser, the loss, and the stages of pre-training and RL.

Light to import: a recipe is checked before torch is loaded. Defaults follow `docs/decisions/0030-learning-defaults.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from trainers.algorithms.advantages import CreditKind, Scale
from trainers.algorithms.algorithm import Average
from trainers.algorithms.registry import ALGORITHMS
from trainers.budget import Budgeted
from trainers.evaluation.evaluate import EvalConfig
from trainers.traces import read_traces
from verifier.errors import BadTask
from verifier.families import AnyTask, TaskConfig, open_task, opens
from verifier.rewards.registry import Reward, Rewards, check_rewards, try_rewards
from verifier.task import Stratum

AlgorithmName = Literal[
    "grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "reinforce", "reinforce_plus_plus", "maxrl", "pass_at_k"
]
_Decay = Annotated[float, Field(ge=0, lt=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerConfig(_Model):
    """AdamW, the schedule of the learning rate, and how DeepSpeed splits the states."""

    learning_rate: float = Field(gt=0, description="the peak of the learning rate")
    final_learning_rate: float = Field(default=0.0, ge=0, description="cosine: the learning rate at the end")
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="the course of the learning rate after its warm-up"
    )
    warmup_steps: int = Field(default=0, ge=0, description="linear growth of the learning rate from 0 [steps]")
    betas: tuple[_Decay, _Decay] = Field(
        default=(0.9, 0.95), description="AdamW: decay of the means of gradients and of their squares, below 1"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW, on matrices; norms and biases are never decayed")
    gradient_norm: float = Field(default=1.0, gt=0, description="gradients are scaled down to this norm")
    zero_stage: Literal[0, 1, 2, 3] = Field(default=1, description="what DeepSpeed splits over the ranks")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16 keeps float32 master weights"
    )

    @model_validator(mode="after")
    def _masters(self) -> OptimizerConfig:
        if self.precision == "bfloat16" and self.zero_stage == 0:
            raise ValueError("zero_stage: bfloat16 needs stage 1 or more, which keep the float32 master weights")
        return self

    def rate_at(self, step: int, total_steps: int | None, spent_share: float = 0.0) -> float:
        """The learning rate of step `step` (from 0) of `total_steps`; None if the stage's budget is not in steps.

        A cosine follows the share of the budget that is spent, to which steps of RL without an update belong as well:
        `step` does not count them.
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        share = spent_share
        if total_steps is not None:
            reached = max(step, round(spent_share * total_steps))
            share = min(1.0, (reached - self.warmup_steps) / max(1, total_steps - self.warmup_steps))
        swing = (self.learning_rate - self.final_learning_rate) / 2
        return self.final_learning_rate + swing * (1 + math.cos(math.pi * share))


class CorrectionConfig(_Model):
    """How tokens are corrected that another policy drew: an older version, or the same one in another dtype.

    With `decoupled` the clipped ratio is relative to the learner's own policy before the step, and the difference
    between that and the engine's is a separate importance weight. With `bypass` the ratio is relative to the engine's
    log-probabilities.
    """

    old_policy: Literal["decoupled", "bypass"] = Field(
        default="decoupled", description="whose log-probabilities the ratio starts from: learner's, or the engine's"
    )
    weights: Literal["none", "token", "sequence"] = Field(
        default="token", description="importance weights of tokens, or one for a completion"
    )
    weight_low: float = Field(default=0.0, ge=0, description="least importance weight")
    weight_high: float = Field(default=2.0, ge=1, description="largest importance weight")
    mask: Literal["none", "token", "sequence", "geometric"] = Field(
        default="none", description="leave out what is too far off: tokens, or completions by product or by mean ratio"
    )
    mask_low: float | None = Field(default=None, gt=0, lt=1, description="least ratio kept; geometric: 0.99 is usual")
    mask_high: float | None = Field(default=None, gt=1, description="largest ratio kept; geometric: 1.01 is usual")

    @model_validator(mode="after")
    def _bounds(self) -> CorrectionConfig:
        if self.weight_low > 1:
            raise ValueError("weight_low: must be at most 1, the weight of a token that the learner itself drew")
        bounds = (self.mask_low, self.mask_high)
        if self.mask == "none" and bounds != (None, None):
            raise ValueError("mask_low and mask_high: need a mask: token, sequence or geometric")
        if self.mask != "none" and bounds == (None, None):
            raise ValueError(f"mask: {self.mask} needs mask_low, mask_high or both")
        if self.old_policy == "bypass" and self.weights != "none":
            raise ValueError("weights: must be none with old_policy bypass, whose ratio holds the difference already")
        return self


class LearningConfig(_Model):
    """How one RL step learns from its groups: an algorithm, its knobs, and what all algorithms share.

    A key without a value has the algorithm's own default (docs/algorithms.md); a key that the algorithm does not have
    is refused.
    """

    algorithm: AlgorithmName = Field(
        default="dapo", description="how completions become a gradient; docs/algorithms.md says when to use which"
    )
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-4, betas=(0.9, 0.999))
    clip_low: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="for advantage < 0: below 1 - clip_low a token has no gradient",
    )
    clip_high: float | None = Field(
        default=None,
        gt=0,
        description="for advantage > 0: above 1 + clip_high a token has no gradient (cispo: its weight is capped)",
    )
    dual_clip: float | None = Field(
        default=None, gt=1, description="bound on the ratio of a token with advantage < 0; 3 is usual, none is off"
    )
    advantage_scale: Scale | None = Field(default=None, description="divide advantages by whose reward deviation")
    average: Average | None = Field(
        default=None, description="over tokens, over each completion first, or over the longest completion allowed"
    )
    overlong_tokens: int | None = Field(
        default=None,
        ge=0,
        description="in the last so many tokens before max_tokens the reward falls, by up to 1; 0 is off [tokens]",
    )
    pass_k: int | None = Field(
        default=None, ge=1, description="draws of which the best counts; fewer than group_size [completions]"
    )
    kl: float = Field(default=0.0, ge=0, description="weight of the KL to the policy that the stage started from")
    kl_estimator: Literal["k2", "k3"] = Field(
        default="k3", description="of that KL: k3 is never negative, k2 has the unbiased gradient"
    )
    token_credit: float = Field(
        default=0.0, ge=0, description="weight of a step's own judgement on the tokens of that step"
    )
    credit_kind: CreditKind = Field(
        default="immediate",
        exclude_if=lambda kind: kind == "immediate",  # so that a stage which does not ask stays the stage it was
        description="of a step's tokens: its own credit, or to_go: the sum of its credit and all later ones",
    )
    correction: CorrectionConfig = CorrectionConfig()
    minibatches: int = Field(default=1, ge=1, description="of one step, an update each [minibatches]")
    microbatch_tokens: int = Field(
        default=8192, ge=64, description="in one forward pass; bounds memory, not the result [tokens]"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:
        name = given.get("algorithm", "dapo") if isinstance(given, dict) else None
        if name not in ALGORITHMS:
            return given
        return {**ALGORITHMS[name].knobs, **{k: v for k, v in given.items() if v is not None}}

    @field_validator(*sorted({knob for a in ALGORITHMS.values() for knob in a.knobs}), mode="before")
    @classmethod
    def _own_knob(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.data.get("algorithm")
        if value is not None and name in ALGORITHMS and info.field_name not in ALGORITHMS[name].knobs:
            raise ValueError(f"is not a key of {name}, which has {', '.join(ALGORITHMS[name].knobs)}")
        return value

    @model_validator(mode="after")
    def _ratio_reaches_what_is_asked(self) -> LearningConfig:
        ratio = ALGORITHMS[self.algorithm].ratio
        if self.credit_kind != "immediate" and not self.token_credit:
            raise ValueError("credit_kind: has no effect without token_credit; give it a weight")
        if self.token_credit and ratio == "completion":
            raise ValueError(
                f"token_credit: {self.algorithm} has one ratio for a whole completion, over which the credits of its "
                "steps would be averaged away; take grpo, dapo or another algorithm with a ratio for each token"
            )
        if self.correction.old_policy == "bypass" and ratio == "none":
            raise ValueError(
                f"correction.old_policy: {self.algorithm} has no ratio that could hold the difference to the engine; "
                "leave it decoupled"
            )
        return self

    @property
    def clip(self) -> tuple[float, float]:
        """clip_low and clip_high of an algorithm that has both."""
        assert self.clip_low is not None
        assert self.clip_high is not None
        return self.clip_low, self.clip_high

    def learner_config(
        self, total_steps: int | None, temperature: float = 1.0, engine_dtype: str = "float32"
    ) -> LearnerConfig:
        """The settings of an RL stage's learner; temperature and dtype are those of the engines that draw for it."""
        return LearnerConfig(self.optimizer, total_steps, self, temperature, engine_dtype)


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """The settings of a learner; `total_steps` is the length of the schedule, None if that follows another budget.

    Without `learning` it trains on documents (next-token cross-entropy). Log-probabilities are taken at the sampling
    `temperature`; `engine_dtype` is the dtype that the engines compute in.
    """

    optimizer: OptimizerConfig
    total_steps: int | None
    learning: LearningConfig | None = None
    temperature: float = 1.0
    engine_dtype: str = "float32"

    @property
    def engine_differs(self) -> bool:
        """Whether engines and learner get different numbers from the same weights: their dtypes differ or round.

        Two float32 computations agree to about 1e-5; bfloat16 ones differ by up to 0.1 even from one another.
        """
        return (self.optimizer.precision, self.engine_dtype) != ("float32", "float32")

    @property
    def kl(self) -> float:
        """The weight of the KL penalty."""
        return self.learning.kl if self.learning else 0.0


class TextTraining(Budgeted):
    """The settings that all stages on texts share."""

    documents_per_step: int = Field(ge=1, description="in one update [texts]")
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=2e-4, schedule="cosine", weight_decay=0.1)
    checkpoint_every: int = Field(ge=1, description="between two checkpoints [updates]")
    keep_last: int = Field(
        default=20, ge=1, description="how many of the stage's newest checkpoints to keep [checkpoints]"
    )
    report_every: int = Field(default=20, ge=1, description="between two lines of progress [updates]")
    microbatch_tokens: int = Field(
        default=4096, ge=64, description="in one forward pass; bounds memory, not the result [tokens]"
    )

    def learner_config(self) -> LearnerConfig:
        """The settings of this stage's learner."""
        return LearnerConfig(self.optimizer, self.steps)


def _with_items(task: TaskConfig, info: ValidationInfo) -> TaskConfig:
    if opens(info):
        mixture = task.mixture()
        _draw([stratum for stratum, share in zip(mixture.strata, mixture.shares, strict=True) if share], task)
    return task


def _draw(strata: Iterable[Stratum], task: TaskConfig) -> None:
    """Raises TooFewItems where a stratum has nothing to train on."""
    for stratum in strata:
        open_task(task).item(stratum, 0, 0, "train")


TrainedTask = Annotated[AnyTask, AfterValidator(_with_items)]
"""A task that is trained on: what is asked at all has items of the train split."""


def _with_gold(task: TaskConfig, info: ValidationInfo) -> TaskConfig:
    if opens(info) and not open_task(task).has_gold:
        raise BadTask(f"the family {task.family} has no gold texts to train on: take an rl or rejection stage")
    return task


GoldTask = Annotated[TrainedTask, AfterValidator(_with_gold)]
"""A task whose gold texts are trained on."""


class PretrainConfig(TextTraining):
    """A pre- or mid-training stage."""

    task: GoldTask = Field(description="the problems whose gold texts are learned")
    loss_on: Literal["all", "solution"] = Field(
        default="all", description="which tokens of a text are learned: all, as in arXiv 2512.07783, or the solution's"
    )


class SftConfig(TextTraining):
    """Supervised training: the loss is only on the text after each prompt."""

    task: GoldTask | None = Field(default=None, description="the problems whose gold texts are learned")
    traces: Path | None = Field(
        default=None,
        validate_default=True,
        description="instead of a task: a JSONL, JSONL.gz or Parquet file of prompts and completions (docs/stages.md), "
        "on a path that every machine of the cluster can read",
    )

    @field_validator("traces")
    @classmethod
    def _one_source(cls, traces: Path | None, info: ValidationInfo) -> Path | None:
        if "task" in info.data and (info.data["task"] is None) == (traces is None):
            raise ValueError("say what to train on by one of task and traces")
        if traces is None:
            return None
        if opens(info):
            read_traces(traces.absolute())
        return traces.absolute()  # so that a run resumed from another folder reads the same file


class RejectionConfig(TextTraining):
    """Rejection sampling: draw from the policy, keep what the judge verifies, train on that as `sft` does."""

    task: TrainedTask = Field(description="the problems that completions are drawn for")
    prompts: int = Field(ge=1, description="drawn for, from the train split, by the task's shares [problems]")
    group_size: int = Field(default=8, ge=1, description="for one problem [completions]")
    max_tokens: int = Field(ge=1, description="longest completion; what is cut off there is not kept [tokens]")
    temperature: float = Field(default=1.0, gt=0, description="of sampling")


class RlConfig(Budgeted):
    """Hyperparameters of an RL stage (defaults: `docs/decisions`, rl table of the paper where it gives one)."""

    task: TrainedTask = Field(description="the problems to learn from")
    curriculum: Literal["mixture", "frontier"] = Field(
        default="mixture", description="strata by their shares, or mostly those that are neither solved nor hopeless"
    )
    prompts_per_step: int = Field(ge=1, description="groups that one learner step learns from [prompts]")
    group_size: int = Field(default=8, ge=2, description="for one prompt; one alone has no advantage [completions]")
    max_tokens: int = Field(ge=1, description="longest completion; what is cut off there earns nothing [tokens]")
    temperature: float = Field(default=1.0, gt=0, description="of sampling, and of the learner's log-probabilities")
    reward: Rewards = Field(
        default_factory=lambda fields: _usual_rewards(fields.get("task")),
        validate_default=True,
        description="by name or import path (docs/rewards.md); strict where the task has judged steps, else outcome",
    )
    refills: int = Field(
        default=1,
        ge=0,
        description="extra groups drawn per prompt, at most and on average, to replace groups without a gradient "
        "[groups per prompt]",
    )
    max_staleness: int = Field(
        default=0, ge=0, le=8, description="oldest weights that a group may be drawn with; 0 is synchronous [versions]"
    )
    order: Literal["arrival", "deterministic"] = Field(
        default="arrival", description="draw a step by any weights within max_staleness as they come, or by the oldest"
    )
    eval_every: int = Field(default=0, ge=0, description="between two evaluations; 0 is never [learner steps]")
    eval: EvalConfig | None = Field(default=None, description="what to evaluate on; needs eval_every")
    checkpoint_every: int = Field(ge=1, description="between two checkpoints [learner steps]")
    keep_last: int = Field(
        default=20,
        ge=1,
        description="how many of the stage's newest checkpoints to keep; the best is always kept [checkpoints]",
    )
    keep_rollouts: int = Field(
        default=100,
        ge=0,
        description="whose rollouts are kept: the newest, and as many older ones drawn at random [learner steps]",
    )
    learning: LearningConfig = Field(default=LearningConfig(), description="how a step learns from its groups")

    @model_validator(mode="after")
    def _learning_fits_the_step(self) -> RlConfig:
        if self.max_staleness == 0 and self.learning.correction.old_policy == "bypass":
            raise ValueError("learning.correction.old_policy: bypass needs max_staleness of 1 or more")
        if (k := self.learning.pass_k) is not None and k >= self.group_size:  # at group_size: one subset, no deviation
            raise ValueError(f"learning.pass_k: must be smaller than group_size, not {k} of {self.group_size}")
        if (overlong := self.learning.overlong_tokens or 0) > self.max_tokens:
            raise ValueError(
                f"learning.overlong_tokens: {overlong} is more than the {self.max_tokens} of max_tokens, so that every "
                "completion would be penalised; make it smaller"
            )
        if self.learning.minibatches > self.prompts_per_step:
            raise ValueError(
                f"learning.minibatches: {self.learning.minibatches} of a step of {self.prompts_per_step} groups; make "
                "it smaller, or prompts_per_step larger"
            )
        return self

    @model_validator(mode="after")
    def _deterministic_needs_no_engine_numbers(self) -> RlConfig:
        how = self.learning.correction
        if self.order == "arrival" or self.max_staleness == 0:
            return self
        for key, value, wanted in (
            ("weights", how.weights, "none"),
            ("mask", how.mask, "none"),
            ("old_policy", how.old_policy, "decoupled"),
        ):
            if value != wanted:
                raise ValueError(
                    f"learning.correction.{key}: must be {wanted} with order deterministic, because an engine's "
                    "log-probabilities change in their last digits with what it computes beside"
                )
        return self

    @model_validator(mode="after")
    def _evaluates_what_it_keeps(self, info: ValidationInfo) -> RlConfig:
        if bool(self.eval_every) != (self.eval is not None):
            raise ValueError("eval_every: give it together with eval, or neither")
        if self.eval is not None and self.eval.recovery:
            raise ValueError("eval.recovery: only a stage of the kind eval measures recovery; add one after this stage")
        if self.eval_every % self.checkpoint_every:
            raise ValueError("eval_every: must be a multiple of checkpoint_every, so that what is measured is kept")
        if self.eval is not None and opens(info) and (shared := self.task.overlap(self.eval.task)) is not None:
            raise ValueError(f"eval.task: {shared} is trained on as well; take it out of one of the two")
        return self

    @field_validator("curriculum")
    @classmethod
    def _frontier_draws_all(cls, curriculum: str, info: ValidationInfo) -> str:
        if curriculum == "frontier" and "task" in info.data and opens(info):
            _draw(info.data["task"].mixture().strata, info.data["task"])  # those without a share too
        return curriculum

    @field_validator("reward")
    @classmethod
    def _task_can_give_it(cls, rewards: tuple[Reward, ...], info: ValidationInfo) -> tuple[Reward, ...]:
        if "task" in info.data and opens(info):
            task = open_task(info.data["task"])
            check_rewards(rewards, task.has_steps)
            try_rewards(rewards, task, info.data["task"].mixture())
        return rewards

    @field_validator("learning")
    @classmethod
    def _credit_needs_steps(cls, learning: LearningConfig, info: ValidationInfo) -> LearningConfig:
        task = info.data.get("task")
        if learning.token_credit and task is not None and opens(info) and not open_task(task).has_steps:
            raise BadTask("token_credit needs judged steps, which this task does not have: leave it out")
        return learning


def _usual_rewards(task: TaskConfig | None) -> tuple[Reward, ...]:
    return (Reward("strict" if task is None or open_task(task).has_steps else "outcome"),)
