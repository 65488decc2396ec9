"""Checkpoints on disk: publish, list, verify, retain. The only module that touches checkpoint files.

A checkpoint is a directory `<stage>-<step>` that transformers and vLLM can load as it is (safetensors, config,
tokenizer), plus `manifest.json` with the lineage and a SHA-256 of every file. It is written under a temporary name,
synced and renamed, so a reader sees a whole checkpoint or none (promise P4). Completeness is one predicate, `_read`.
It knows nothing of what the files mean; the learner writes them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from actors.files import sync
from verifier.errors import Failure, UserError

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
RESUME: Final = "resume"  # the folder of a checkpoint that holds the optimiser and the loop's state
ID_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,63}-\d{1,9}$"
_TEMPORARY: Final = ".tmp-"
_BLOCK: Final = 1 << 20
_QUARANTINE: Final = ".bad-"


class CheckpointError(UserError):
    """A checkpoint that is missing, half written or not what its manifest says; the message names it and why."""

    fix = "Name another checkpoint, or copy this one again from where it is whole."


class CheckpointWriteError(Failure):
    """A checkpoint that could not be written (disk full, no permission); nothing of it is left behind."""

    fix = "Make room, or make the folder of the run writable."


class FileRecord(BaseModel):
    """One file of a checkpoint: its size in bytes and its SHA-256 in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    sha256: str


class Lineage(BaseModel):
    """Where a checkpoint comes from: what the writer knows before the files exist.

    `tokens` and `flops` are cumulative over the stage; `score` is the measure by which `best` is chosen: the
    pass@1 of an evaluation (`evaluated`), or else the mean pass rate of the rollouts since the last checkpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    stage: str
    step: int = Field(ge=0)
    parent: str | None
    seed: int
    tokens: int = 0
    flops: float = 0.0
    score: float | None = None
    evaluated: bool = False


class Manifest(Lineage):
    """The published record of a checkpoint; `weight_hash` and `tokenizer_hash` are what every answer names."""

    id: str = Field(pattern=ID_PATTERN)
    created: str
    files: dict[str, FileRecord]

    @property
    def weight_hash(self) -> str:
        """SHA-256 of the weights file."""
        return self.files[WEIGHTS].sha256

    @property
    def tokenizer_hash(self) -> str:
        """SHA-256 of the tokenizer file."""
        return self.files[TOKENIZER].sha256


class CheckpointStore:
    """The checkpoints of one run, under `root`.

    One writer (the run), any number of readers in other processes. Listing is cheap (names and sizes); `get` reads
    every byte and compares hashes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(self, lineage: Lineage, write: Callable[[Path], None]) -> Manifest:
        """Let `write` fill a directory, then publish it as `Draft.publish` does. Raises what that raises."""
        draft = self.draft(lineage)
        try:
            directory = draft.open()
            with _write_errors(draft.id):
                write(directory)
            return draft.publish()
        finally:
            draft.discard()

    def draft(self, lineage: Lineage) -> Draft:
        """A checkpoint to be filled in several steps."""
        return Draft(self.root, lineage)

    def adopt(self, source: CheckpointStore, checkpoint_id: str, beginning: Lineage | None = None) -> Manifest:
        """Copy a good checkpoint of another store, without what only its own run can resume from.

        It keeps its id and lineage, or becomes the `beginning` of another lineage, which says where it comes from.
        """
        manifest = source.get(checkpoint_id)
        lineage = Lineage(**{key: getattr(manifest, key) for key in Lineage.model_fields})
        if beginning is not None:
            parent = f"{manifest.run}.{manifest.stage}@{manifest.step}"
            first = {"run": beginning.run, "stage": beginning.stage, "seed": beginning.seed, "parent": parent}
            unscored = {"score": None, "evaluated": False}  # another stage's measure
            lineage = lineage.model_copy(update=first | unscored)

        def copy(directory: Path) -> None:
            source.copy_to(checkpoint_id, directory)

        return self.publish(lineage, copy)

    def copy_to(self, checkpoint_id: str, directory: Path) -> Manifest:
        """Copy what a model is loaded from into an empty directory, comparing the hash of every byte as it is written.

        What is loaded from the copy is what was hashed, whatever happens to the checkpoint meanwhile. Raises
        CheckpointError, and OSError when the directory cannot be written.
        """
        path = self.path(checkpoint_id)
        manifest = _read(path)
        for name, record in manifest.files.items():
            if name.startswith(f"{RESUME}/"):
                continue
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            if _copy(path / name, directory / name) != record.sha256:
                raise CheckpointError(f"checkpoint {checkpoint_id}: {name} does not match its hash in the manifest")
        return manifest

    def list(self) -> list[Manifest]:
        """The complete checkpoints, oldest first."""
        if not self.root.is_dir():
            return []
        found = [m for entry in self.root.iterdir() if not entry.name.startswith(".") and (m := _complete(entry))]
        return sorted(found, key=lambda m: (m.created, m.step))

    def get(self, checkpoint_id: str) -> Manifest:
        """The manifest of one checkpoint after comparing every file's hash; CheckpointError says what is wrong."""
        path = self.path(checkpoint_id)
        manifest = _read(path)
        for name, record in manifest.files.items():
            if _sha256(path / name) != record.sha256:
                raise CheckpointError(f"checkpoint {checkpoint_id}: {name} does not match its hash in the manifest")
        return manifest

    def path(self, checkpoint_id: str) -> Path:
        """The directory of an existing checkpoint; only plain names of the listing resolve, never a path or a link."""
        path = self.root / checkpoint_id
        if checkpoint_id.startswith(".") or path.name != checkpoint_id or path.is_symlink() or not path.is_dir():
            raise CheckpointError(f"there is no checkpoint {checkpoint_id!r} in this run")
        return path

    def latest(self, stage: str | None = None) -> Manifest | None:
        """The newest checkpoint (of `stage`) whose hashes hold; broken ones are passed over, newest first."""
        for manifest in reversed(self.list()):
            if stage is None or manifest.stage == stage:
                try:
                    return self.get(manifest.id)
                except CheckpointError:
                    continue
        return None

    def best(self) -> Manifest | None:
        """The checkpoint with the highest score; the later of equals. Where any was evaluated, one that was."""
        scored = [(m.evaluated, m.score, i, m) for i, m in enumerate(self.list()) if m.score is not None]
        return max(scored)[3] if scored else None

    def rescore(self, checkpoint_id: str, score: float) -> None:
        """Give a checkpoint the score of an evaluation that came after it. Raises CheckpointWriteError."""
        path = self.path(checkpoint_id)
        manifest = _read(path).model_copy(update={"score": score, "evaluated": True})
        draft = self.draft(manifest)
        try:
            written = draft.open() / MANIFEST
            with _write_errors(checkpoint_id):
                _write(written, manifest)
                sync(written)
                written.replace(path / MANIFEST)
                sync(path)
        finally:
            draft.discard()

    def retain(self, stage: str, keep_last: int) -> None:
        """Delete the older checkpoints of `stage`, keeping the newest `keep_last` and the best. Raises OSError."""
        best = self.best()
        own = [m for m in self.list() if m.stage == stage]
        for manifest in own[: max(0, len(own) - keep_last)]:
            if best is None or manifest.id != best.id:
                doomed = self.root / f"{_TEMPORARY}gone-{manifest.id}-{os.getpid()}"
                (self.root / manifest.id).rename(doomed)  # out of the listing at once, then deleted
                shutil.rmtree(doomed)

    def sweep(self) -> None:
        """Remove what writers that died left behind. Only the run itself calls this, at its start."""
        for entry in self.root.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(entry)


class Draft:
    """A checkpoint that is being written: `open` it, fill the directory, `publish` it; `discard` it in any case."""

    def __init__(self, root: Path, lineage: Lineage) -> None:
        self.id = f"{lineage.stage}-{lineage.step}"
        self._root = root
        self._lineage = lineage
        self._directory = root / f"{_TEMPORARY}{self.id}-{os.getpid()}"

    def open(self) -> Path:
        """The empty directory to be filled. Raises CheckpointWriteError."""
        with _write_errors(self.id):
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir(parents=True)
        return self._directory

    def publish(self) -> Manifest:
        """Hash, sync and rename the directory.

        A good checkpoint of the same id is never replaced: one with the same weights is returned as it stands, another
        raises CheckpointError. A broken one is moved aside. Raises CheckpointWriteError when the disk takes no more.
        """
        with _write_errors(self.id):
            return self._rename(_sealed(self._directory, self.id, self._lineage, _moment(self._root)))

    def discard(self) -> None:
        """Remove what was not published."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _rename(self, manifest: Manifest) -> Manifest:
        target = self._root / manifest.id
        if target.exists():
            try:
                present = CheckpointStore(self._root).get(manifest.id)
            except CheckpointError:
                _move_aside(target)
            else:
                if present.weight_hash == manifest.weight_hash:
                    return present
                raise CheckpointError(f"checkpoint {manifest.id} exists with other weights and is not replaced")
        self._directory.rename(target)
        sync(self._root)
        return manifest


@contextmanager
def _write_errors(checkpoint_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointWriteError(f"checkpoint {checkpoint_id} could not be written: {error}") from error


def _moment(root: Path) -> str:
    """Now; right after the newest checkpoint where that is later, since the clock was set back or another's is ahead.

    Checkpoints are told apart as older and newer by this time, and the older ones are deleted.
    """
    moment = datetime.now(UTC)
    with suppress(ValueError, TypeError, OverflowError):  # what an edited manifest holds may be no time
        for newest in CheckpointStore(root).list()[-1:]:
            moment = max(moment, datetime.fromisoformat(newest.created) + timedelta(microseconds=1))
    return moment.isoformat(timespec="microseconds")


def _sealed(directory: Path, checkpoint_id: str, lineage: Lineage, created: str) -> Manifest:
    """Hash and sync every file of `directory`, then write and sync its manifest."""
    names = sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())
    missing = {WEIGHTS, TOKENIZER, "config.json"} - set(names)
    assert not missing, f"a checkpoint needs {sorted(missing)}"
    files = {n: FileRecord(size=(directory / n).stat().st_size, sha256=_sha256(directory / n)) for n in names}
    fields: dict[str, Any] = lineage.model_dump()
    manifest = Manifest(**fields, id=checkpoint_id, created=created, files=files)
    _write(directory / MANIFEST, manifest)
    for name in (*names, MANIFEST):
        sync(directory / name)
    for folder in (*(p for p in directory.rglob("*") if p.is_dir()), directory):
        sync(folder)
    return manifest


def _write(path: Path, manifest: Manifest) -> None:
    path.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> Manifest:
    """The manifest of `path` if the directory is complete: every file listed is there in full, and no other."""
    try:
        manifest = Manifest.model_validate_json((path / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint {path.name}: no {MANIFEST}; it was never published") from error
    except ValidationError as error:
        raise CheckpointError(
            f"checkpoint {path.name}: {MANIFEST} is not readable: {error.errors()[0]['msg']}"
        ) from error
    if manifest.id != path.name:
        raise CheckpointError(f"checkpoint {path.name}: its manifest is that of {manifest.id}")
    if {WEIGHTS, TOKENIZER} - set(manifest.files):
        raise CheckpointError(f"checkpoint {path.name}: the manifest names no weights or no tokenizer")
    present = {str(p.relative_to(path)): p for p in path.rglob("*") if p.is_symlink() or not p.is_dir()}
    for name in sorted(set(present) ^ {*manifest.files, MANIFEST}):
        raise CheckpointError(
            f"checkpoint {path.name}: {name} is {'not in the manifest' if name in present else 'missing'}"
        )
    for name, record in manifest.files.items():
        if present[name].is_symlink() or present[name].stat().st_size != record.size:
            raise CheckpointError(f"checkpoint {path.name}: {name} is not the file that was published")
    return manifest


def _complete(path: Path) -> Manifest | None:
    if path.is_symlink() or not path.is_dir():
        return None
    try:
        return _read(path)
    except (CheckpointError, OSError):  # a reader may list while the run retires one, or may not be let in
        return None


def _move_aside(path: Path) -> None:
    """Keep a broken checkpoint for a person to look at, out of the listing."""
    place = next(p for n in range(10**6) if not (p := path.parent / f"{_QUARANTINE}{path.name}.{n}").exists())
    path.rename(place)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> str:
    """Copy a file that is no link, and return the SHA-256 of what was written."""
    digest = hashlib.sha256()
    with open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as reader, target.open("xb") as writer:
        while block := reader.read(_BLOCK):
            digest.update(block)
            writer.write(block)
    return digest.hexdigest()
