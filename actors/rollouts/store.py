"""Where stored rollouts lie: `rollouts/<stage>/step-000012.parquet` in a run folder, a part for each step.

A part is replaced whole, so no reader finds half of one, and a step that a resumed run does again takes the place of
the old one. How much is kept: all of the last `keep` steps, and of the older ones as many again, drawn by a seed; so a
stage of any length has at most twice `keep` parts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from actors.files import replacing
from actors.rollouts.table import StepRollouts, to_table
from verifier.seeds import derive

FOLDER: Final = "rollouts"
_PART: Final = re.compile(r"step-([0-9]{6,})\.parquet")
# The ids and numbers of tokens repeat too little for a dictionary, which would cost more time than all else.
_DICTIONARIES: Final = ("stage", "stratum", "item", "address", "answer", "finish_reason")


class RolloutStore:
    """The parts of one stage."""

    def __init__(self, run_dir: Path, stage: str, seed: int, keep: int) -> None:
        self.folder = run_dir / FOLDER / stage
        self.stage = stage
        self.seed = seed
        self.keep = keep

    def write(self, step: StepRollouts) -> None:
        """Write the part of a step, and let go of what is one too many. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._part(step.step)) as temporary:
            pq.write_table(
                to_table(self.stage, step),
                temporary,
                compression="zstd",
                compression_level=1,
                use_dictionary=list(_DICTIONARIES),  # pyright: ignore[reportArgumentType]  # its stub knows no lists
                write_statistics=False,
                write_page_checksum=True,  # a flipped bit is told from a number
            )
        self._thin()

    def rewind(self, step: int) -> None:
        """Forget the steps after `step`, which will be done again, and what a kill left torn. Raises OSError."""
        for torn in self.folder.glob(".step-*"):
            torn.unlink(missing_ok=True)
        for later in (found for found in parts(self.folder) if found > step):
            self._part(later).unlink()

    def _thin(self) -> None:
        steps = sorted(parts(self.folder))
        older = [step for step in steps if step <= steps[-1] - self.keep]
        by_draw = sorted(older, key=lambda step: derive(self.seed, "kept", self.stage, step))
        for step in by_draw[self.keep :]:
            self._part(step).unlink()

    def _part(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.parquet"


def parts(folder: Path) -> dict[int, Path]:
    """The parts in a stage's folder by step, in order."""
    found = {int(match[1]): path for path in folder.glob("step-*") if (match := _PART.fullmatch(path.name))}
    return dict(sorted(found.items()))
