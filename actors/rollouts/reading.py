"""Reads stored rollouts back, part by part, so that a run of any size is looked through in the memory of one step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from actors.rollouts.store import FOLDER, parts
from actors.rollouts.table import FORM, FORM_KEY, StoredRollout, from_table
from verifier.errors import UserError


class NoRollouts(UserError):
    """There is nothing to read; the message says why."""

    fix = "Rollouts are kept by RL stages whose `keep_rollouts` is not 0; name such a run."


class OtherForm(UserError):
    """The rollouts were written by another version of Interplay."""

    fix = "Read them with the version that wrote them, or as plain Parquet."


@dataclass(frozen=True, slots=True)
class Part:
    """One step of a stage, as a file."""

    stage: str
    step: int
    path: Path

    def read(self) -> list[StoredRollout]:
        """Its rows, in slot order. Raises DamagedPart, OtherForm."""
        try:
            file = pq.ParquetFile(self.path)
            form = (file.schema_arrow.metadata or {}).get(FORM_KEY, b"").decode()
            if form != FORM:
                raise OtherForm(f"{self.path} has the form {form or 'of another program'}, not {FORM}.")
            return list(from_table(file.read()))
        except (pa.ArrowInvalid, OSError) as error:
            raise DamagedPart(f"{self.path} cannot be read ({str(error).splitlines()[0]}).") from error


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
