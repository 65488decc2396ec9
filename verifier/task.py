"""What everybody may know of a task: its strata, its items, and how a text is judged.

A task is one set of problems of one family (`verifier.families` lists the families). All code above this package is
written against the protocol here and knows no family. Items are named by their address, so that files and messages
need not carry problems.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from verifier.errors import TooFewItems
from verifier.judgement import Judgement
from verifier.seeds import Index

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

Value = int | float | str
Role = Literal["system", "user", "assistant"]

# A stratum counts as exhausted after so many repeats in a row, and so many more for each item found: of equally likely
# items, the last is overlooked with a probability of less than e^-20.
_REPEATS, _REPEATS_EACH = 1_000, 20


@dataclass(frozen=True, slots=True)
class Stratum:
    """One kind of item within a task: the value of each of the family's own axes, in the family's order.

    Mixtures, curricula, tables, bands and metrics are told by strata.
    """

    axes: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, **axes: Value) -> Stratum:
        """The stratum of these values, in the order given."""
        return cls(tuple(axes.items()))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Stratum:
        """The inverse of `dataclasses.asdict`, also after JSON."""
        return cls(tuple((axis, value) for axis, value in record["axes"]))

    @property
    def name(self) -> str:
        """A readable key, unique within a task: "op=4 mode=forward template=zoo depth=2"."""
        return " ".join(f"{axis}={value}" for axis, value in self.axes)

    def __getitem__(self, axis: str) -> Value:
        """The value on one axis; KeyError where the family has no such axis."""
        return dict(self.axes)[axis]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat prompt."""

    role: Role
    content: str


Prompt = str | tuple[Message, ...]
"""Text that the model continues as it is, or messages that the model's own chat template turns into text."""


def prompt_text(prompt: Prompt) -> str:
    """A prompt as a person reads it: messages one below the other."""
    return prompt if isinstance(prompt, str) else "\n\n".join(message.content for message in prompt)


@dataclass(frozen=True, slots=True)
class Address:
    """Everything that determines an item of a task: `task.item` of these four gives it again."""

    stratum: Stratum
    seed: int
    index: Index
    split: Split

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Address:
        """The inverse of `record`, also after JSON."""
        index = record["index"] if isinstance(record["index"], int) else tuple(record["index"])
        return cls(Stratum.from_record(record["stratum"]), record["seed"], index, record["split"])

    def record(self) -> dict[str, Any]:
        """It as plain values, as `dataclasses.asdict` gives them, in a fifth of its time."""
        stratum = {"axes": self.stratum.axes}
        return {"stratum": stratum, "seed": self.seed, "index": self.index, "split": self.split}


@dataclass(frozen=True, slots=True)
class Item:
    """One problem as it is asked.

    `id` is unique within the task. `gold` is the text that should follow the prompt, separators included, or None
    where the family knows none; pre-training learns from it. `payload` is the family's own: what judging needs, frozen
    and picklable.
    """

    id: str
    address: Address
    prompt: Prompt
    gold: str | None
    payload: object

    @property
    def stratum(self) -> Stratum:
        """The kind of item that it is."""
        return self.address.stratum


class Task(Protocol):
    """A set of problems with their judge. Its methods are pure and give the same in every process."""

    @property
    def has_steps(self) -> bool:
        """Whether its judgements are `TraceJudgement`s."""
        ...

    @property
    def has_gold(self) -> bool:
        """Whether every item has a gold text."""
        ...

    def strata(self) -> tuple[Stratum, ...]:
        """All strata, in a fixed order."""
        ...

    def item(self, stratum: Stratum, seed: int, index: Index, split: Split) -> Item:
        """One item. Different indices may give the same item, different splits never do."""
        ...

    def judge(self, item: Item, text: str) -> Judgement:
        """Judge what a model wrote after the item's prompt. Whatever is raised counts as the judge's own error."""
        ...

    def held_out(self, stratum: Stratum, count: int, seed: int) -> tuple[Item, ...]:
        """`count` distinct items of the test split, each equal to `item` of its address.

        A longer set begins with the shorter one. Raises TooFewItems.
        """
        ...


@runtime_checkable
class Listed(Protocol):
    """What a task can do besides if its items are so many and no more."""

    def prompts(self) -> Iterator[tuple[str, Prompt]]:
        """The id and the prompt of every item of every split."""
        ...


def item_at(task: Task, address: Address) -> Item:
    """The item of an address."""
    return task.item(address.stratum, address.seed, address.index, address.split)


def distinct_items(task: Task, stratum: Stratum, count: int, seed: int) -> tuple[Item, ...]:
    """The first `count` distinct items of the test split, by index: `held_out` for a family without a faster way.

    Raises TooFewItems once so many draws in a row were seen before that no more can be expected.
    """
    found = tuple(itertools.islice(_unseen(task, stratum, seed), count))
    if len(found) < count:
        raise TooFewItems(f"{stratum.name} has only {len(found)} distinct test items, not {count}: ask for fewer")
    return found


def _unseen(task: Task, stratum: Stratum, seed: int) -> Iterator[Item]:
    seen: set[str] = set()
    again = 0
    for index in itertools.count():
        item = task.item(stratum, seed, index, "test")
        if item.id not in seen:
            seen.add(item.id)
            again = 0
            yield item
        elif (again := again + 1) > _REPEATS + _REPEATS_EACH * len(seen):
            return


def labels(strata: Sequence[Stratum]) -> dict[Stratum, str]:
    """A short name of each stratum: the axes on which they differ; the whole name where there is nothing shorter."""
    held = [dict(stratum.axes) for stratum in strata]
    axes = dict.fromkeys(axis for values in held for axis in values)
    told = {axis for axis in axes if len(axes) == 1 or len({values.get(axis) for values in held}) > 1}
    return {
        stratum: " ".join(f"{axis} {value}" for axis, value in stratum.axes if axis in told) or stratum.name
        for stratum in strata
    }
