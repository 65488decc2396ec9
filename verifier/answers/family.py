"""Problems from a file of the user's: prompts with the right answers, JSONL (.gz too) or Parquet.

The whole file is read and checked when the task is opened (`verifier.answers.rows` says what a row has).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count as count_from
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from verifier.answers.checkers import CHECKERS, Checker, RightAnswer, check_ready
from verifier.answers.rows import Row, check_answers, check_gold, read_rows, split_of
from verifier.errors import TooFewItems
from verifier.families import TaskConfig, open_task, opens
from verifier.judgement import Judgement
from verifier.seeds import Index, item_seed
from verifier.task import Address, Item, Prompt, Split, Stratum, Task


class AnswersConfig(TaskConfig, frozen=True):
    """Prompts and answers from a local file."""

    family: Literal["answers"] = "answers"
    file: Path = Field(description="JSONL, JSONL.gz or Parquet, on a path that every machine of the cluster can read")
    checker: Checker = Field(default="exact", description="how an answer is compared with the right one")
    tolerance: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="number: how far off, absolutely or as a share, is right; left out: 0 for whole answers, else 1e-6",
    )

    @field_validator("file")
    @classmethod
    def _from_here(cls, file: Path) -> Path:
        return file.absolute()  # a run that is resumed from another folder reads the same file

    @model_validator(mode="after")
    def _can_be_read(self, info: ValidationInfo) -> Self:
        if opens(info):
            check_ready(self.checker)
            open_task(self)
            check_gold(self.file, read_rows(self.file), self.checker, self.tolerance)
        return self

    def overlap(self, test: TaskConfig) -> str | None:
        """A test row of another file that is a training row of this one, by its prompt."""
        if not isinstance(test, AnswersConfig):
            return None
        trained = {row.asked for row in read_rows(self.file).values() if split_of(row) == "train"}
        tested = (row for row in read_rows(test.file).values() if split_of(row) == "test")
        shared = next((row for row in tested if row.asked in trained), None)
        return None if shared is None else f"row {shared.id!r} of {test.file}"

    def task(self) -> Task:
        """The file as a task. Raises BadTask."""
        rows = read_rows(self.file)
        check_answers(self.file, rows, self.checker)
        return AnswersTask(self, _grouped(rows.values()), has_gold=all(row.gold is not None for row in rows.values()))


Groups = Mapping[tuple[Stratum, Split], tuple[Row, ...]]


@dataclass(frozen=True, slots=True)
class AnswersTask:
    """The rows of a file by stratum and split. The payload of an item is its right answer, as text."""

    config: AnswersConfig
    groups: Groups = field(repr=False)
    has_gold: bool
    has_steps: bool = False

    def strata(self) -> tuple[Stratum, ...]:
        """The strata named in the file, in alphabetical order; one where it names none."""
        return tuple(sorted({stratum for stratum, _ in self.groups}, key=lambda stratum: stratum.name))

    def item(self, stratum: Stratum, seed: int, index: Index, split: Split) -> Item:
        """One of the rows of the stratum and split, each as likely as any other. Raises TooFewItems."""
        rows = self._of(stratum, split)
        return _item(rows[item_seed(seed, index) % len(rows)], Address(stratum, seed, index, split))

    def judge(self, item: Item, text: str) -> Judgement:
        """Whether the text's final answer is the right one."""
        return CHECKERS[self.config.checker](text, RightAnswer(str(item.payload), self.config.tolerance))

    def held_out(self, stratum: Stratum, count: int, seed: int) -> tuple[Item, ...]:
        """`count` test rows in an order of the seed's. Raises TooFewItems."""
        rows = self._of(stratum, "test")
        if count > len(rows):
            raise TooFewItems(f"{stratum.name} has {len(rows)} test rows, not {count}: ask for fewer problems")
        found: dict[str, Item] = {}
        for index in count_from():
            item = self.item(stratum, seed, index, "test")
            found.setdefault(item.id, item)
            if len(found) == count:
                return tuple(found.values())
        raise AssertionError("every row is drawn at some index")

    def prompts(self) -> Iterator[tuple[str, Prompt]]:
        """Every row, by group."""
        return ((str(row.id), row.asked) for rows in self.groups.values() for row in rows)

    def _of(self, stratum: Stratum, split: Split) -> tuple[Row, ...]:
        rows = self.groups.get((stratum, split))
        if not rows:
            raise TooFewItems(
                f"{self.config.file}: {stratum.name} has no {split} rows; add some, or set their split field"
            )
        return rows


def _grouped(rows: Iterable[Row]) -> Groups:
    groups: dict[tuple[Stratum, Split], list[Row]] = {}
    for row in rows:
        groups.setdefault((Stratum.of(stratum=row.kind), split_of(row)), []).append(row)
    return {key: tuple(group) for key, group in groups.items()}


def _item(row: Row, address: Address) -> Item:
    return Item(str(row.id), address, row.asked, row.gold, row.right)
