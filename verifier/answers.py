"""Problems from a file of the user's: prompts with the right answers, JSONL (.gz too) or Parquet.

A row has `prompt` (text) or `messages` (role and content each), `answer`, and optionally `id` (its line number where
left out), `stratum`, `split` (train, validation or test; by a hash of the id where left out) and `gold` (the text that
should follow the prompt; `answer` is not taken for it). The whole file is read and checked when the task is opened.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count as count_from
from pathlib import Path
from typing import Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from verifier.checkers import CHECKERS, Checker, Checking, check_ready, is_number
from verifier.errors import BadTask, TooFewItems
from verifier.extras import need
from verifier.families import TaskConfig, open_task, opens
from verifier.judgement import Judgement
from verifier.seeds import Index, item_seed
from verifier.splits import digest_of, split_of_hash
from verifier.task import SPLITS, Address, Item, Message, Prompt, Split, Stratum, Task


class AnswersConfig(TaskConfig, frozen=True):
    """Prompts and answers from a local file."""

    family: Literal["answers"] = "answers"
    file: Path = Field(description="JSONL, JSONL.gz or Parquet, on a path that every machine of the cluster can read")
    checker: Checker = Field(default="exact", description="how an answer is compared with the right one")
    tolerance: float = Field(default=1e-6, ge=0, description="number: how far off, absolutely or as a share, is right")

    @field_validator("file")
    @classmethod
    def _from_here(cls, file: Path) -> Path:
        return file.absolute()  # a run that is resumed from another folder reads the same file

    @model_validator(mode="after")
    def _can_be_read(self, info: ValidationInfo) -> Self:
        if opens(info):
            check_ready(self.checker)
            open_task(self)
        return self

    def task(self) -> Task:
        """The file as a task. Raises BadTask."""
        rows = read_rows(self.file)
        if self.checker == "number":
            _check_numbers(self.file, rows)
        return AnswersTask(self, _grouped(rows), has_gold=all(row.gold is not None for row in rows))


class Row(BaseModel):
    """One problem of the file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str | None = Field(default=None, min_length=1)
    messages: tuple[Message, ...] | None = Field(default=None, min_length=1)
    answer: str | int | float
    id: str | int | None = None
    stratum: str | int | None = None
    split: Split | None = None
    gold: str | None = None

    @model_validator(mode="after")
    def _one_way_to_ask(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self

    @property
    def asked(self) -> Prompt:
        """The prompt, in whichever way the row gives it."""
        return self.messages if self.prompt is None else self.prompt  # pyright: ignore[reportReturnType]


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
        return CHECKERS[self.config.checker](text, Checking(str(item.payload), self.config.tolerance))

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
        groups.setdefault((_stratum(row), split_of(row)), []).append(row)
    return {key: tuple(group) for key, group in groups.items()}


def split_of(row: Row) -> Split:
    """The split that the row names, or else the one of its id."""
    return row.split or split_of_hash(digest_of(str(row.id)))


def _stratum(row: Row) -> Stratum:
    return Stratum.of(stratum="all" if row.stratum is None else row.stratum)


def _item(row: Row, address: Address) -> Item:
    return Item(str(row.id), address, row.asked, row.gold, str(row.answer))


def read_rows(file: Path) -> tuple[Row, ...]:
    """The rows of the file, each with an id. Raises BadTask with the line and the field at fault."""
    if not file.is_file():
        raise BadTask(f"there is no file {file}: correct the path, or run from the folder that it starts in")
    rows = tuple(_checked(raw, f"{file}, line {number}", number) for number, raw in _raw(file))
    if not rows:
        raise BadTask(f"{file} has no rows: write one problem a line")
    _check_ids(file, rows)
    _check_splits(file, rows)
    return rows


def _raw(file: Path) -> Iterator[tuple[int, object]]:
    """(line number from 1, its data) of every row; empty lines are skipped."""
    if file.suffix == ".parquet":
        yield from _raw_parquet(file)
        return
    for number, line in enumerate(_lines(file), 1):
        if line.strip():
            yield number, _json(line, f"{file}, line {number}")


def _lines(file: Path) -> Iterator[str]:
    open_text = gzip.open if file.suffix == ".gz" else open
    try:
        with open_text(file, "rt", encoding="utf-8") as lines:
            yield from cast(Iterable[str], lines)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadTask(f"{file} cannot be read to its end: {error}") from error


def _raw_parquet(file: Path) -> Iterator[tuple[int, object]]:
    arrow, parquet = (need(module, "cpu", "pyarrow") for module in ("pyarrow", "pyarrow.parquet"))
    try:
        rows = (row for batch in parquet.ParquetFile(file).iter_batches() for row in batch.to_pylist())
        yield from enumerate(map(_present, rows), 1)
    except (arrow.ArrowException, OSError) as error:
        raise BadTask(f"{file} is not a readable Parquet file: {error}") from error


def _present(row: Mapping[str, object]) -> dict[str, object]:
    """The row without the columns that are null in it."""
    return {name: value for name, value in row.items() if value is not None}


def _json(line: str, where: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadTask(f"{where}: no JSON ({error}); write one object a line") from error


def _checked(raw: object, where: str, number: int) -> Row:
    try:
        row = Row.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"]) or "the row"
        raise BadTask(f"{where}: {at}: {first['msg']}") from error
    return row if row.id is not None else row.model_copy(update={"id": number})


def _check_ids(file: Path, rows: tuple[Row, ...]) -> None:
    seen: dict[str, int] = {}
    for place, row in enumerate(rows, 1):
        first = seen.setdefault(str(row.id), place)
        if first != place:
            raise BadTask(f"{file}: rows {first} and {place} have the same id {row.id!r}; give each its own")


def _check_splits(file: Path, rows: tuple[Row, ...]) -> None:
    found = {split_of(row) for row in rows}
    for split in SPLITS:
        if split != "validation" and split not in found:
            raise BadTask(
                f"{file}: no row is of the {split} split; set the field split in some rows "
                "(without it a hash of the id puts one in twenty into test)"
            )


def _check_numbers(file: Path, rows: tuple[Row, ...]) -> None:
    for row in rows:
        if not is_number(str(row.answer)):
            raise BadTask(f"{file}: the answer {row.answer!r} of row {row.id!r} is no number; take the checker exact")
