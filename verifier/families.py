"""The families of problems: one line each. Nothing of a family is imported before a recipe asks for it."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple, cast

from pydantic import BaseModel, BeforeValidator, Field, SerializeAsAny, ValidationInfo

from verifier.errors import BadTask
from verifier.judgement import Judgement
from verifier.mixture import Mixture
from verifier.outside.import_path import load_object
from verifier.task import Item, Task

DEFAULT_FAMILY = "graphs"


class Family(NamedTuple):
    """Where a family's settings model is; what draws a judged item as SVG, if it can be drawn; and what gives the
    phrases of its language that a tokenizer may take whole, if it has one.
    """

    config: str
    drawing: str | None = None
    phrases: str | None = None


FAMILIES: dict[str, Family] = {
    "graphs": Family(
        "verifier.graphs.family:GraphsConfig",
        drawing="verifier.graphs.family:drawing",
        phrases="verifier.graphs.templates.phrases:phrases",
    ),
    "answers": Family("verifier.answers.family:AnswersConfig"),
    "gym": Family("verifier.gym:GymConfig"),
    "python": Family("verifier.python.family:PythonConfig"),
}


class TaskConfig(BaseModel, frozen=True, extra="forbid"):
    """What a recipe says of a task; every family adds its own settings.

    Frozen and hashable: processes are sent the settings, and each opens the task for itself (`open_task`).
    """

    family: str = Field(
        default=DEFAULT_FAMILY, description="kind of problems: graphs, answers, gym or python (docs/problems.md)"
    )
    shares: tuple[float, ...] = Field(
        default=(), description="how often each stratum is asked, in order, with the sum 1; equal where left out"
    )

    @abstractmethod
    def task(self) -> Task:
        """The task of these settings. Raises BadTask, or what the family names."""

    def overlap(self, test: TaskConfig) -> str | None:
        """A held-out item of another task that this one trains on, in words; None where there is none.

        Families that split by what is asked never share one.
        """
        return None

    def mixture(self) -> Mixture:
        """The strata with their shares. Raises BadMixture."""
        strata = open_task(self).strata()
        return Mixture(strata, self.shares) if self.shares else Mixture.even(strata)


UNOPENED: Final = {"open_tasks": False}
"""Validation context for the recipe of a run that is looked at: its keys are checked, and nothing that they name is
read or imported. The recipe of a run folder may be a stranger's, or name a file that is on another machine."""


def opens(info: ValidationInfo) -> bool:
    """Whether a validation may open tasks."""
    return info.context is not UNOPENED


def _of_family(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, dict):
        return value
    settings = cast(dict[str, Any], value)
    model = config_of(str(settings.get("family", DEFAULT_FAMILY)))
    config = model.model_validate(settings, context=info.context)
    if opens(info):
        config.mixture()  # raises where the shares do not fit the strata
    return config


AnyTask = Annotated[SerializeAsAny[TaskConfig], BeforeValidator(_of_family)]
"""A task of any family, as a field of a settings model."""


@lru_cache
def config_of(family: str) -> type[TaskConfig]:
    """The settings model of a family. Raises BadTask where there is no such family."""
    return load_object(_family(family).config)


@lru_cache
def open_task(config: TaskConfig) -> Task:
    """The task of these settings, opened once a process."""
    return config.task()


@lru_cache
def drawing(family: str) -> Callable[[Item, Judgement], str] | None:
    """What draws a judged item of a family as SVG; None where the family has no drawing."""
    path = _family(family).drawing
    return None if path is None else load_object(path)


def phrases(family: str) -> Callable[[Sequence[str], bool], tuple[str, ...]]:
    """What gives the phrases of the family's language, called with templates and whether whole names are wanted."""
    path = _family(family).phrases
    assert path is not None, f"{family} has no language of its own"
    return load_object(path)


def _family(name: str) -> Family:
    if name in FAMILIES:
        return FAMILIES[name]
    near = difflib.get_close_matches(name, FAMILIES, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise BadTask(f"there is no family {name!r}; {hint}Choose one of {', '.join(FAMILIES)}")
