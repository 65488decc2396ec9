"""What an evaluation has measured so far, in a file, so that one that is killed or stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors.files import replace_text
from trainers.evaluation.evaluate import EvalConfig, Measured
from verifier.task import Item


def unfinished_path(run_dir: Path, stage: str) -> Path:
    """Where an eval stage of a run keeps what it has measured, until it is done."""
    return run_dir / "evals" / f"{stage}.unfinished.jsonl"


class Unfinished:
    """The measured items of one evaluation: of these weights, by these settings, on these items, with this seed.

    A file of another evaluation, and a line that was cut off, are dropped. Raises OSError.
    """

    def __init__(self, path: Path, weight_hash: str, config: EvalConfig, items: Sequence[Item], seed: int) -> None:
        asked = [weight_hash, config.model_dump(mode="json"), [item.id for item in items], seed]
        head = {"evaluation": hashlib.sha256(json.dumps(asked).encode()).hexdigest()}
        self._path = path
        self._known = dict(_read(path, head))
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(head), *(_line(item_id, one) for item_id, one in self._known.items())]
        replace_text(path, "".join(f"{line}\n" for line in lines))

    def get(self, item: Item) -> Measured | None:
        """What was measured of an item before; None if it was not."""
        return self._known.get(item.id)

    def add(self, item: Item, measured: Measured) -> None:
        """Keep what was measured of an item."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{_line(item.id, measured)}\n")


def _line(item_id: str, measured: Measured) -> str:
    return json.dumps({"item": item_id, "measured": asdict(measured)})


def _read(path: Path, head: dict[str, str]) -> Iterator[tuple[str, Measured]]:
    records = _records(path)
    if next(records, None) != head:
        return
    for record in records:
        yield record["item"], Measured.from_record(record["measured"])


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of the file, up to the first that is none."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return
