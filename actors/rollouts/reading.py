"""Reads stored rollouts back, part by part, so that a run of any size is looked through in the memory of one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actors.rollouts.query import Status
from actors.rollouts.store import FOLDER, parts
from actors.rollouts.table import FORM, FORM_KEY, SCHEMA, StoredRollout, from_table
from verifier.errors import UserError


class NoRollouts(UserError):
    """There is nothing to read; the message says why."""

    fix = "Rollouts are kept by RL stages whose `keep_rollouts` is not 0; name such a run."


class OtherForm(UserError):
    """The rollouts were written by another version of Interplay."""

    fix = "Read them with the version that wrote them, or as plain Parquet."


@dataclass(frozen=True, slots=True)
class Head:
    """What a list shows of a row: where it is in its part, its slot, and what became of it; `tokens` are drawn ones."""

    row: int
    place: int
    attempt: int
    sample: int
    stratum: str
    item: str
    status: Status
    reward: float
    process_accuracy: float | None
    first_error: int | None
    tokens: int
    first_weight_version: int
    weight_version: int
    trained: bool


_OF_HEADS: Final = (
    *("place", "attempt", "sample", "stratum", "item", "reward", "process_accuracy", "first_error"),
    *("first_weight_version", "weight_version", "trained"),
)
_OF_STATUS: Final = ("finish_reason", "verified", "right")


@dataclass(frozen=True, slots=True)
class Part:
    """One step of a stage, as a file."""

    stage: str
    step: int
    path: Path

    def read(self) -> list[StoredRollout]:
        """Its rows, in slot order. Raises DamagedPart, OtherForm."""
        with self._open() as file:
            return list(from_table(file.read()))

    def heads(self) -> list[Head]:
        """Its rows in short, without texts and tokens. Raises DamagedPart, OtherForm."""
        with self._open() as file:
            table = file.read([*_OF_HEADS, *_OF_STATUS, "completion_ids"])
            sizes = pc.call_function("list_value_length", [table["completion_ids"]]).to_pylist()
            status = [
                Status.judged(reason, right if verified is None else verified, right)
                for reason, verified, right in zip(*(table[key].to_pylist() for key in _OF_STATUS), strict=True)
            ]
            rows = table.select(_OF_HEADS).to_pylist()
        return [Head(row=number, status=status[number], tokens=sizes[number], **row) for number, row in enumerate(rows)]

    def row(self, number: int) -> StoredRollout | None:
        """One row by its number from 0; None where there are fewer. Raises DamagedPart, OtherForm."""
        with self._open() as file:
            return next(from_table(file.read().slice(number, 1)), None)

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:  # older parts have none
                form = (file.schema_arrow.metadata or {}).get(FORM_KEY, b"").decode()
                if form != FORM:
                    raise OtherForm(f"{self.path} has the form {form or 'of another program'}, not {FORM}.")
                if not file.schema_arrow.equals(SCHEMA):  # a name may be damaged: only pages have checksums
                    raise DamagedPart(f"{self.path} cannot be read (its columns are not those of form {FORM}).")
                yield file
        except UserError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a text that is no UTF-8
            reason = str(error).partition("\n")[0]
            raise DamagedPart(f"{self.path} cannot be read ({reason}).") from error


class DamagedPart(UserError):
    """A part that is cut off or damaged: no run leaves one, but a copy or a disk may."""

    fix = "Copy the file again, or delete it: the other steps are whole."


def kept(run_dir: Path, stage: str | None = None, step: int | None = None) -> list[Part]:
    """The parts of a run, or of one stage or step of it, the newest step first. Raises NoRollouts."""
    stages = sorted(path for path in (run_dir / FOLDER).glob("*/") if stage in (None, path.name))
    found = [Part(path.name, number, part) for path in stages for number, part in parts(path).items()]
    if not found:
        raise NoRollouts(f"{run_dir} holds no rollouts{f' of a stage {stage}' if stage else ''}.")
    wanted = [part for part in found if step in (None, part.step)]
    if not wanted:
        raise NoRollouts(f"{run_dir} holds no rollouts of step {step}.", f"Name one of {_ranges(found)}.")
    return wanted[::-1]


def _ranges(found: list[Part]) -> str:
    """The steps that are there: "1-60, 72"."""
    steps = sorted({part.step for part in found})
    starts = [step for step in steps if step - 1 not in steps]
    ends = [step for step in steps if step + 1 not in steps]
    return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in zip(starts, ends, strict=True))
