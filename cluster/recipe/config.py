"""The recipe: one YAML file that says what a run does, as a settings model. `cluster.recipe.load` reads and writes it.

A recipe composes the settings models that are kept next to the code that they configure. The descriptions of their
fields, with the unit in brackets at the end, are printed by `interplay recipe keys` and in docs/recipes.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from actors.config import EngineConfig, FleetConfig, PolicyConfig, TokenizerConfig, require_gpus
from trainers.budget import Budgeted
from trainers.config import PretrainConfig, RejectionConfig, RlConfig, SftConfig
from trainers.evaluation.bands import Bands
from trainers.evaluation.evaluate import EvalConfig
from verifier.families import TaskConfig, opens

Tracker = Literal["tensorboard", "wandb"]
LEARNING = ("pretrain", "midtrain", "sft", "rejection", "rl")
"""The kinds of stages that train."""
STAGE_NAME = r"^[a-z][a-z0-9-]{0,31}$"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LearnerFleet(_Model):
    """The learner's processes: data-parallel ranks and what each may use."""

    workers: int = Field(default=1, ge=1, description="data-parallel processes [ranks]")
    cpus: float = Field(default=0.1, gt=0, description="what Ray reserves for a rank [cores]")
    gpus: float = Field(default=0, ge=0, description="what Ray reserves for a rank [GPUs]")
    threads: int = Field(default=1, ge=1, description="of torch, in each rank [threads]")

    @model_validator(mode="after")
    def _a_card_for_each_rank(self) -> Self:
        if self.workers > 1 and 0 < self.gpus < 1:
            raise ValueError(
                f"gpus: each of the {self.workers} ranks needs a whole GPU: NCCL cannot put two ranks on one; "
                "give 1, or one worker"
            )
        return self


class _Stage(_Model):
    name: str = Field(
        pattern=STAGE_NAME, description="the stage's name in overrides, files and reports (default: its kind)"
    )


class TokenizerStage(_Stage):
    """Train the task tokenizer."""

    kind: Literal["tokenizer"] = Field(description="train a tokenizer for the first pretrain stage")
    tokenizer: TokenizerConfig


class BaseStage(_Stage):
    """Start from a checkpoint that ships with the package, one of another run, or a transformers directory."""

    kind: Literal["base"] = Field(description="start from a model that exists")
    base: str = Field(
        min_length=1,
        description="name of a shipped base (tiny-base), RUN/checkpoints/ID, or any transformers directory",
    )


class PretrainStage(_Stage):
    """Next-token training on gold traces, from scratch or from the stage before (mid-training)."""

    kind: Literal["pretrain", "midtrain"] = Field(
        description="learn gold texts: from nothing, or from the stage before"
    )
    train: PretrainConfig


class SftStage(_Stage):
    """Supervised training on given or gold traces, from the stage before."""

    kind: Literal["sft"] = Field(description="learn given or gold traces, from the stage before")
    sft: SftConfig


class RejectionStage(_Stage):
    """Rejection sampling from the stage before: draw, keep what is verified, train on it."""

    kind: Literal["rejection"] = Field(description="draw, keep what is verified, learn it")
    rejection: RejectionConfig


class RlStage(_Stage):
    """Reinforcement learning from the stage before."""

    kind: Literal["rl"] = Field(description="reinforcement learning from the stage before")
    rl: RlConfig


class EvalStage(_Stage):
    """Pass@k of the newest checkpoint on held-out problems."""

    kind: Literal["eval"] = Field(description="measure pass@k of the newest checkpoint")
    eval: EvalConfig


class ReportStage(_Stage):
    """Write report.json and report.html."""

    kind: Literal["report"] = Field(description="write report.json and report.html")


Stage = Annotated[
    TokenizerStage | BaseStage | PretrainStage | SftStage | RejectionStage | RlStage | EvalStage | ReportStage,
    Field(discriminator="kind"),
]


def training_of(stage: Stage) -> tuple[str, Budgeted] | None:
    """The section of a training stage and its settings; None for a stage that trains nothing."""
    match stage:
        case PretrainStage():
            return "train", stage.train
        case SftStage():
            return "sft", stage.sft
        case RejectionStage():
            return "rejection", stage.rejection
        case RlStage():
            return "rl", stage.rl
        case _:
            return None


class Recipe(_Model):
    """Everything that determines a run. Two runs of one recipe on one machine kind give the same bytes (sync, CPU)."""

    name: str = Field(pattern=STAGE_NAME, description="what the recipe is called: small letters, digits, hyphens")
    description: str = Field(default="", description="what it is for, in a line")
    seed: int = Field(default=0, ge=0, description="every draw of the run is derived from it [no unit]")
    fleet: FleetConfig = FleetConfig()
    learner: LearnerFleet = LearnerFleet()
    policy: PolicyConfig = Field(
        default=PolicyConfig(), description="the model that the first stage builds, unless it is a base"
    )
    engine: EngineConfig = EngineConfig()
    bands: Bands = Bands()
    trackers: tuple[Tracker, ...] = Field(default=(), description="dashboards to write besides metrics.jsonl")
    stages: tuple[Stage, ...] = Field(min_length=1, description="what is done, in order")

    @model_validator(mode="after")
    def _engines_see_a_gpu(self) -> Self:
        require_gpus(self.engine, self.fleet)
        return self

    @model_validator(mode="after")
    def _stages_make_sense(self) -> Self:
        if faults := order_faults([(stage.name, stage.kind) for stage in self.stages]):
            raise ValueError("\n".join(faults))
        return self

    @model_validator(mode="after")
    def _nothing_is_trained_on_and_then_evaluated(self, info: ValidationInfo) -> Self:
        if not opens(info):
            return self
        trained: list[tuple[str, TaskConfig]] = []
        for stage in self.stages:
            if (task := _task_of(stage)) is not None:
                trained.append((stage.name, task))
            if isinstance(stage, EvalStage):
                for name, task in trained:
                    if (shared := task.overlap(stage.eval.task)) is not None:
                        raise ValueError(
                            f"stages.{stage.name}.eval.task: {shared} is trained on in stages.{name}; "
                            "take it out of one of the two"
                        )
        return self


def _task_of(stage: Stage) -> TaskConfig | None:
    """The problems that a stage trains on, if it trains on any of a task."""
    match stage:
        case PretrainStage():
            return stage.train.task
        case SftStage():
            return stage.sft.task
        case RejectionStage():
            return stage.rejection.task
        case RlStage():
            return stage.rl.task
        case _:
            return None


def order_faults(stages: Sequence[tuple[str, str]]) -> list[str]:
    """The errors in the names and the order of stages, which are given as (name, kind): one line each."""
    names = [name for name, _ in stages]
    faults = [f"stages.{name}: stage names must differ" for name in dict.fromkeys(names) if names.count(name) > 1]
    have_tokenizer = have_weights = False
    for number, (name, kind) in enumerate(stages):
        if kind == "tokenizer" and "pretrain" not in [later for _, later in stages[number:]]:
            faults.append(f"stages.{name}: needs a pretrain stage after it, whose texts it is trained on")
        if kind in ("rl", "eval", "midtrain", "sft", "rejection") and not have_weights:
            faults.append(f"stages.{name}: needs a base or pretrain stage before it")
        if kind == "pretrain" and not (have_tokenizer or have_weights):
            faults.append(f"stages.{name}: needs a tokenizer stage before it")
        have_tokenizer |= kind == "tokenizer"
        have_weights |= kind in ("base", "pretrain")
    return faults
