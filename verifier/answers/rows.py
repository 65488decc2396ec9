"""The rows of a file of problems: read and checked, each with the line and the field that a message needs.

A row has `prompt` (text) or `messages` (role and content each), `answer`, and optionally `id` (its line number where
left out), `stratum`, `split` (train, validation or test; by a hash of the id where left out) and `gold` (the text that
should follow the prompt; `answer` is not taken for it).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from verifier.answers.checkers import CHECKERS, Checker, RightAnswer, is_choice, is_number
from verifier.errors import BadTask
from verifier.outside.extras import need
from verifier.splits import digest_of, split_of_hash
from verifier.task import SPLITS, Message, Prompt, Split


class Asked(BaseModel):
    """What a row of any file asks: `prompt` or `messages`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str | None = Field(default=None, min_length=1)
    messages: tuple[Message, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_way_to_ask(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self

    @property
    def asked(self) -> Prompt:
        """The prompt, in whichever way the row gives it."""
        return self.messages if self.prompt is None else self.prompt  # pyright: ignore[reportReturnType]


class Row(Asked):
    """One problem of the file."""

    answer: str | int | float
    id: str | int | None = None
    stratum: str | int | None = None
    split: Split | None = None
    gold: str | None = None

    @field_validator("answer", mode="before")
    @classmethod
    def _text_or_number(cls, answer: object) -> object:
        empty = isinstance(answer, str) and not answer.strip()
        if isinstance(answer, bool) or empty or (isinstance(answer, float) and not isfinite(answer)):
            raise ValueError(f"give a text or a number, not {json.dumps(answer)}")
        return answer

    @property
    def kind(self) -> str | int:
        """The stratum that it is of: one for all rows that name none."""
        return "all" if self.stratum is None else self.stratum

    @property
    def right(self) -> str:
        """The answer as text; a number without an exponent, as a person writes it."""
        return format(Decimal(repr(self.answer)), "f") if isinstance(self.answer, float) else str(self.answer)


Rows = Mapping[int, Row]
"""The rows of a file by the number of their line, from 1."""

Asks = TypeVar("Asks", bound=Asked)


def split_of(row: Row) -> Split:
    """The split that the row names, or else the one of its id."""
    return row.split or split_of_hash(digest_of(str(row.id)))


def read_rows(file: Path) -> Rows:
    """The rows of the file, each with an id. Raises BadTask with the line and the field at fault."""
    rows = {number: _identified(row, number) for number, row in numbered_rows(Row, file)}
    _check_ids(file, rows)
    _check_strata(file, rows)
    _check_splits(file, rows)
    return rows


def numbered_rows(model: type[Asks], file: Path) -> Iterator[tuple[int, Asks]]:
    """Every row with the number of its line (from 1). Raises BadTask with the line and the field at fault."""
    if not file.is_file():
        raise BadTask(f"there is no file {file}: correct the path, or run from the folder that it starts in")
    number = 0
    for number, raw in _raw(file):
        yield number, _checked(model, raw, f"{file}, line {number}")
    if not number:
        raise BadTask(f"{file} has no rows: write one problem a line")


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
        with open_text(file, "rt", encoding="utf-8-sig") as lines:  # some programs begin a file with a byte order mark
            yield from cast(Iterable[str], lines)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
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


def _checked(model: type[Asks], raw: object, where: str) -> Asks:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"]) or "the row"
        raise BadTask(f"{where}: {at}: {first['msg']}") from error


def _identified(row: Row, number: int) -> Row:
    return row if row.id is not None else row.model_copy(update={"id": number})


def _check_ids(file: Path, rows: Rows) -> None:
    seen: dict[str, int] = {}
    for line, row in rows.items():
        first = seen.setdefault(str(row.id), line)
        if first != line:
            raise BadTask(f"{file}, line {line}: id: {row.id!r:.60} is that of line {first} too; give each row its own")


def _check_strata(file: Path, rows: Rows) -> None:
    """Raises BadTask where two strata have one name, which tables and metrics could not tell apart."""
    seen: dict[str, str | int] = {}
    for line, row in rows.items():
        first = seen.setdefault(str(row.kind), row.kind)
        if first != row.kind:
            raise BadTask(
                f"{file}, line {line}: stratum: {row.kind!r:.60} reads like {first!r:.60} of an earlier row; write "
                "both as texts or both as numbers"
            )


def _check_splits(file: Path, rows: Rows) -> None:
    found = {split_of(row) for row in rows.values()}
    for split in SPLITS:
        if split != "validation" and split not in found:
            raise BadTask(
                f"{file}: no row is of the {split} split; set the field split in some rows "
                "(without it a hash of the id puts one in twenty into test)"
            )


def check_answers(file: Path, rows: Rows, checker: Checker) -> None:
    """Raises BadTask with the line of an answer that no text can equal."""
    of_form, form = _FORMS.get(checker, (None, ""))
    for line, row in rows.items():
        if of_form and not of_form(row.right):
            raise BadTask(f"{file}, line {line}: answer: {row.answer!r:.60} is no {form}; take the checker exact")


def check_gold(file: Path, rows: Rows, checker: Checker, tolerance: float | None) -> None:
    """Raises BadTask with the line of a gold text that the checker judges wrong."""
    # Where a gold text ends with the answer as it is written, math-verify, which takes its time, need not be asked.
    checkers = (CHECKERS["exact"], CHECKERS["math"]) if checker == "math" else (CHECKERS[checker],)
    for line, row in rows.items():
        against = RightAnswer(row.right, tolerance)
        if row.gold is not None and not any(is_right(row.gold, against).right for is_right in checkers):
            raise BadTask(
                f"{file}, line {line}: gold: the checker {checker} does not find the answer {row.answer!r:.60} in it; "
                "end the text with the answer, in <answer>, in \\boxed or after ####"
            )


_FORMS: dict[Checker, tuple[Callable[[str], bool], str]] = {
    "choice": (is_choice, "single letter"),
    "number": (is_number, "number"),
}
"""What an answer must be for a checker, with the word for it."""
