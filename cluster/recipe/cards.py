"""Whether a recipe fits the memory of its cards, by arithmetic, before anything starts.

Ray counts GPUs and shares of GPUs, but not their memory: what runs together on one card must fit by itself. All
processes whose shares fit one card are taken to run there at once, each at its largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from actors.engines.memory import GIB, EngineMemory, engine_memory
from actors.policy.size import ModelSize, size_of_directory, size_of_policy
from cluster.errors import NotEnough
from cluster.recipe.base import directory
from cluster.recipe.config import BaseStage, Recipe, Stage, TokenizerStage, training_of
from trainers.config import LearningConfig, RlConfig, TextTraining
from trainers.learner.memory import LearnerMemory, learner_memory
from verifier.errors import UserError

_WORDS = 4096  # more than any vocabulary of the tokenizers that are not byte-pair has
_KNOBS = {
    "activations": "{learning}.microbatch_tokens",
    "optimizer": "learner.workers",
    "cache": "engine.kv_cache_mib",
}


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a card: what it is called, how many of them run on one card, and what one needs."""

    name: str
    count: int
    memory: LearnerMemory | EngineMemory
    learning: str = ""

    @property
    def parts(self) -> Iterator[tuple[str, int, str]]:
        """The parts of its memory: name, bytes, and the key that changes it, if one does."""
        for field in fields(self.memory):
            knob = _KNOBS.get(field.name, "").format(learning=self.learning)
            yield field.name, getattr(self.memory, field.name), knob


@dataclass(frozen=True, slots=True)
class CardPlan:
    """What runs together on one card at most."""

    processes: tuple[Process, ...]

    @property
    def needed(self) -> int:
        """Memory of all of it [bytes]."""
        return sum(process.count * process.memory.total for process in self.processes)


def card_plans(recipe: Recipe) -> tuple[CardPlan, ...]:
    """The fullest card of a recipe, or two where learner and engines have cards of their own; none without a GPU."""
    learner, engine = _learner(recipe), _engine(recipe)
    if learner and engine and recipe.learner.gpus + recipe.fleet.rollout_gpus <= 1:
        beside = int((1 - recipe.learner.gpus) / recipe.fleet.rollout_gpus + 1e-9)
        together = min(recipe.fleet.rollout_workers, beside)
        return (CardPlan((learner, _times(engine, together))),)
    alone = min(recipe.fleet.rollout_workers, max(1, int(1 / recipe.fleet.rollout_gpus + 1e-9))) if engine else 0
    found = (learner, _times(engine, alone) if engine else None)
    return tuple(CardPlan((process,)) for process in found if process is not None)


def require_cards(recipe: Recipe, card_bytes: int, bfloat16: bool = True) -> None:
    """Raises NotEnough, with the table, unless all that runs together on a card fits its memory.

    Also where the recipe computes in bfloat16, and the card does not.
    """
    plans = card_plans(recipe)
    if plans and not bfloat16 and (keys := list(_in_bfloat16(recipe))):
        raise NotEnough(
            f"the GPU does not compute in bfloat16, which {', '.join(keys)} ask for",
            "Set them to float32, or use a GPU of the year 2020 or later (compute capability 8).",
        )
    if any(plan.needed > card_bytes for plan in plans):
        raise NotEnough(
            f"the recipe {recipe.name} does not fit its card\n{table(recipe, card_bytes)}",
            "Lower a key that the table names, or give the learner and the engines cards of their own "
            "(learner.gpus=1, fleet.rollout_gpus=1).",
        )


def require_shares(recipe: Recipe) -> None:
    """Raises UserError unless the processes of an engine can share each layer of every policy of the recipe."""
    processes = recipe.engine.tensor_parallel
    for stage, size in _sizes(recipe):
        if not size.shared_by(processes):
            raise UserError(
                f"the recipe {recipe.name} cannot share the policy of its stage {stage.name}, with {size.heads} heads, "
                f"{size.kv_heads} of them for keys and values, among {processes} processes",
                "Set engine.tensor_parallel to a divisor of both, and of the feed-forward width.",
            )


def table(recipe: Recipe, card_bytes: int | None) -> str:
    """What each process needs, what is there and what is left, in plain text; needs alone if the card is unknown."""
    lines = [f"  {'process':<16}{'part':<14}{'GiB':>8}   set by"]
    for plan in card_plans(recipe):
        for process in plan.processes:
            name = f"{process.count} x {process.name}" if process.count > 1 else process.name
            for part, amount, knob in process.parts:
                lines.append(f"  {name:<16}{part:<14}{amount / GIB:>8.2f}   {knob}".rstrip())
                name = ""
        lines.append(f"  {'card':<16}{'needed':<14}{plan.needed / GIB:>8.2f}")
        if card_bytes is not None:
            lines.append(f"  {'':<16}{'there':<14}{card_bytes / GIB:>8.2f}")
            lines.append(f"  {'':<16}{'headroom':<14}{(card_bytes - plan.needed) / GIB:>8.2f}")
    return "\n".join(lines)


def _times(process: Process, count: int) -> Process:
    return Process(process.name, count, process.memory)


def _engine(recipe: Recipe) -> Process | None:
    if recipe.engine.device != "cuda" or not recipe.fleet.rollout_gpus:
        return None
    sizes = [size for _, size in _sizes(recipe)]
    largest = max((engine_memory(size, recipe.engine) for size in sizes), key=lambda memory: memory.total)
    return Process("rollout worker", 1, largest)


def _learner(recipe: Recipe) -> Process | None:
    """The learner in the stage that needs the most of it."""
    if not recipe.learner.gpus:
        return None
    found = [process for stage, size in _sizes(recipe) if (process := _learning(recipe, stage, size)) is not None]
    return max(found, key=lambda process: process.memory.total, default=None)


def _learning(recipe: Recipe, stage: Stage, size: ModelSize) -> Process | None:
    found = _settings_of(stage)
    if found is None:
        return None
    place, learning = found
    kl = isinstance(learning, LearningConfig) and learning.kl > 0
    memory = learner_memory(size, learning.optimizer, learning.microbatch_tokens, recipe.learner.workers, kl)
    return Process("learner", 1, memory, place)


def _settings_of(stage: Stage) -> tuple[str, LearningConfig | TextTraining] | None:
    """How a stage learns, and the path of these keys; None for a stage that trains nothing."""
    training = training_of(stage)
    if training is None:
        return None
    section, config = training
    if isinstance(config, RlConfig):
        return f"stages.{stage.name}.{section}.learning", config.learning
    assert isinstance(config, TextTraining), f"{stage.kind} trains on groups or on texts"
    return f"stages.{stage.name}.{section}", config


def _in_bfloat16(recipe: Recipe) -> Iterator[str]:
    """The keys that ask for bfloat16 on a GPU."""
    if recipe.engine.device == "cuda" and recipe.engine.dtype == "bfloat16":
        yield "engine.dtype"
    for place, learning in filter(None, map(_settings_of, recipe.stages if recipe.learner.gpus else ())):
        if learning.optimizer.precision == "bfloat16":
            yield f"{place}.optimizer.precision"


def _sizes(recipe: Recipe) -> Iterator[tuple[Stage, ModelSize]]:
    """Each stage that has a policy, and the policy's size."""
    vocab, size = 0, None
    for stage in recipe.stages:
        if isinstance(stage, TokenizerStage):
            vocab = stage.tokenizer.vocab_size if stage.tokenizer.kind == "byte-pair" else _WORDS
        elif isinstance(stage, BaseStage):
            size = size_of_directory(directory(stage.base))
        elif stage.kind == "pretrain" and size is None:
            size = size_of_policy(recipe.policy, vocab)
        if size is not None:
            yield stage, size
