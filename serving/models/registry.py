"""Which models exist and what their names mean: a cached listing of the runs' checkpoints, aliases and canary.

Ids look like `run@step` for the RL stage and `run.stage@step` for the others; a run is called by its folder. Names are
only ever looked up in the listing; no path is made from a caller's text. A manifest that cannot be shown costs its own
checkpoint only: it is left out, and named in the log once. What admins change (aliases, pins, the canary) is kept in
one small file beside the checkpoints, so that it survives a restart and every replica sees it. Loads no model.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from actors.policy.checkpoint import CheckpointStore, Manifest
from serving.http.errors import NotFound, Unavailable
from serving.schemas import MAX_FAMILY_CHARS, MAX_STEP_DIGITS
from serving.shared_file import rewrite
from serving.threads import in_thread

logger = logging.getLogger(__name__)
RL_STAGE: Final = "rl"
STATE_FILE: Final = "serving.json"
BUILT_IN_ALIASES: Final = ("latest", "best", "base")
_LISTING_TTL_S: Final = 2.0  # a directory's mtime has the grain of a clock tick; this bounds what it can hide
_STATE_BYTES: Final = 1 << 20
_LOG_LINES: Final = 200
_ID: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_FAMILY_CHARS - 1}}}@\d{{1,{MAX_STEP_DIGITS}}}")
_PARENT: Final = re.compile(r"[A-Za-z0-9._@-]{1,200}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LARGEST: Final = 2**63

_Stamp = tuple[int, int, int, int]
CanaryState = Literal["none", "running", "promotable", "rolled back"]


class CanarySetting(BaseModel):
    """A share of an alias's traffic for another model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    model: str
    share: float
    started: float = 0.0  # seconds since 1970: a canary that is started again is another one


class State(BaseModel):
    """What admins have set. `log` holds audit lines, newest last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aliases: dict[str, str] = {}
    pinned: tuple[str, ...] = ()
    canary: CanarySetting | None = None
    canary_state: CanaryState = "none"
    log: tuple[str, ...] = ()

    def noting(self, line: str) -> State:
        """The same with one more audit line, stamped with the time of day (UTC)."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return self.model_copy(update={"log": (*self.log, f"{stamp} {line}")[-_LOG_LINES:]})


@dataclass(frozen=True, slots=True)
class Entry:
    """One servable checkpoint: its public id, the name of its run, its manifest, and the store that holds it."""

    id: str
    run: str
    manifest: Manifest
    store: CheckpointStore


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a requested name means for this caller now. `side` is set while the alias has a canary."""

    requested: str
    entry: Entry
    side: Literal["stable", "canary"] | None = None


class Registry:
    """The runs under `run_dirs`; plain aliases mean the first one, `run@alias` a certain one."""

    def __init__(
        self,
        run_dirs: tuple[Path, ...],
        refused: Callable[[Entry], bool] = lambda _entry: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`refused` tells which checkpoints do not load at the moment; the run's own aliases pass over them."""
        self.run_dirs = {path.name: path for path in (folder.resolve() for folder in run_dirs)}
        self._stores = {name: CheckpointStore(path / "checkpoints") for name, path in self.run_dirs.items()}
        self._state_path = run_dirs[0].resolve() / STATE_FILE
        self._refused = refused
        self._clock = clock
        self._passed_over: set[tuple[Path, str]] = set()
        self._listing: dict[str, Entry] = {}
        self._listed_at: tuple[tuple[int, ...], float] | None = None
        self._one_lists = asyncio.Lock()
        self._state: tuple[_Stamp | None, State] | None = None

    def entries(self) -> dict[str, Entry]:
        """Every complete checkpoint by id, in the order of training. Cheap while no directory has changed."""
        if not self._listed_within(_LISTING_TTL_S):
            self._list()
        return self._listing

    async def refresh(self) -> None:
        """Read a listing that is about to be old in a thread, where the next `entries` would on the event loop."""
        async with self._one_lists:
            if not self._listed_within(_LISTING_TTL_S / 2):
                await in_thread(self._list)

    def _listed_within(self, seconds: float) -> bool:
        if self._listed_at is None:
            return False
        stamps, at = self._listed_at
        return stamps == self._stamps() and self._clock() - at <= seconds

    def _list(self) -> None:
        stamps, now = self._stamps(), self._clock()
        listed = [Entry(model_id(run, m), run, m, store) for run, store in self._stores.items() for m in store.list()]
        self._listing = {entry.id: entry for entry in listed if self._showable(entry)}
        self._listed_at = (stamps, now)

    def _stamps(self) -> tuple[int, ...]:
        return tuple(_mtime(store.root) for store in self._stores.values())

    def _showable(self, entry: Entry) -> bool:
        fault = fault_of(entry)
        place = entry.store.root, entry.manifest.id
        if fault and place not in self._passed_over:
            self._passed_over.add(place)
            logger.warning("manifest_passed_over", extra={"checkpoint": entry.manifest.id, "reason": fault})
        return not fault

    def aliases(self) -> dict[str, Entry]:
        """Every alias that means something now."""
        entries = self.entries()
        good = [entry for entry in entries.values() if not self._refused(entry)]
        found: dict[str, Entry] = {}
        first, *_ = self._stores
        for run in reversed(self._stores):
            own = _followed(good, run) or _followed(list(entries.values()), run)
            found |= {f"{run}@{alias}": entry for alias, entry in own}
            if run == first:
                found |= dict(own)
        found |= {name: entries[target] for name, target in self.state().aliases.items() if target in entries}
        return found

    def find(self, name: str) -> Entry:
        """The checkpoint that an id or alias names; NotFound otherwise, whatever the text."""
        entry = self.entries().get(name) or self.aliases().get(name)
        if entry is None:
            raise NotFound(
                f"there is no model {_shown(name)}; GET /v1/models lists them", param="model", code="model_not_found"
            )
        return entry

    def resolve(self, name: str, caller: str) -> Resolved:
        """As `find`, with the canary's share: the same caller always lands on the same side."""
        entry = self.find(name)
        canary = self.state().canary
        if canary is None or canary.alias != name:
            return Resolved(name, entry)
        other = self.entries().get(canary.model)
        if other is not None and _fraction(f"{canary.alias}\0{canary.model}\0{caller}") < canary.share:
            return Resolved(name, other, "canary")
        return Resolved(name, entry, "stable")

    def state(self) -> State:
        """What admins have set, as last written by any replica."""
        stamp = _stamp(self._state_path)
        if self._state is None or self._state[0] != stamp:
            self._state = stamp, _read_state(self._state_path)
        return self._state[1]

    def update(self, change: Callable[[State], State]) -> State:
        """Replace the state by `change` of it, for all replicas, one writer at a time. May wait; call it in a thread.

        Unavailable when the run folder takes no writes; the errors of `change` pass through and nothing is written.
        """
        written: list[State] = []

        def new_text() -> str:
            written.append(change(_read_state(self._state_path)))
            return written[0].model_dump_json(indent=1) + "\n"

        try:
            rewrite(self._state_path, new_text, mode=0o644)
        except OSError as error:
            raise Unavailable(f"the run folder takes no writes ({error.strerror})", code="read_only") from error
        return written[0]

    def set_alias(self, alias: str, model: str | None) -> None:
        """Point `alias` at a model; None lets a built-in one follow the run again and removes any other."""
        if model is None:
            self.update(lambda state: _without_alias(state, alias))
            return
        target = self.find(model).id
        line = f"alias {alias} -> {target}"
        self.update(lambda state: state.model_copy(update={"aliases": state.aliases | {alias: target}}).noting(line))

    def pin(self, model: str) -> State:
        """Keep a model in memory on every replica that loads it."""
        return self.update(
            lambda state: _pinning(state, (*state.pinned, model)).noting(f"{model} loaded and pinned"),
        )

    def unpin(self, model: str) -> State:
        """Let a model give way to others."""
        return self.update(
            lambda state: _pinning(state, (name for name in state.pinned if name != model)).noting(f"{model} unloaded"),
        )


def _pinning(state: State, models: Iterable[str]) -> State:
    return state.model_copy(update={"pinned": tuple(dict.fromkeys(models))})


def _without_alias(state: State, alias: str) -> State:
    if alias not in state.aliases and alias not in BUILT_IN_ALIASES:
        raise NotFound(f"there is no alias {_shown(alias)}", param="alias", code="alias_not_found")
    others = {name: target for name, target in state.aliases.items() if name != alias}
    return state.model_copy(update={"aliases": others}).noting(f"alias {alias} follows the run")


def fault_of(entry: Entry) -> str | None:
    """Why a checkpoint cannot be shown to clients; None when it can."""
    manifest = entry.manifest
    if not _ID.fullmatch(entry.id):
        return f"its id {_shown(entry.id)} is not NAME@STEP of at most {MAX_FAMILY_CHARS} letters, digits and ._-"
    try:
        created_at(manifest)
    except (ValueError, OverflowError):
        return f"its time {_shown(manifest.created)} is none"
    if not (_SHA256.fullmatch(manifest.weight_hash) and _SHA256.fullmatch(manifest.tokenizer_hash)):
        return "its hashes are not SHA-256"
    if not (0 <= manifest.tokens < _LARGEST and math.isfinite(manifest.flops) and math.isfinite(manifest.score or 0)):
        return "its tokens, flops or score are not numbers that JSON can carry"
    if manifest.parent is not None and not _PARENT.fullmatch(manifest.parent):
        return "its parent is not the name of a checkpoint"
    return None


def created_at(manifest: Manifest) -> int:
    """When a checkpoint was published, in seconds since 1970. ValueError or OverflowError when that is no time."""
    seconds = int(datetime.fromisoformat(manifest.created).timestamp())
    if not 0 <= seconds < 2**40:
        raise ValueError(manifest.created)
    return seconds


def model_id(run: str, manifest: Manifest) -> str:
    """The public id of a checkpoint in the folder of a run of this name."""
    family = run if manifest.stage == RL_STAGE else f"{run}.{manifest.stage}"
    return f"{family}@{manifest.step}"


def _followed(entries: list[Entry], run: str) -> list[tuple[str, Entry]]:
    """The built-in aliases of one run: `latest` RL step, `best` as in the store, `base` what RL started from."""
    own = [entry for entry in entries if entry.run == run]
    if not own:
        return []
    learned = [entry for entry in own if entry.manifest.stage == RL_STAGE]
    taught = [entry for entry in own if entry.manifest.stage != RL_STAGE]
    scored = [(e.manifest.evaluated, e.manifest.score, n) for n, e in enumerate(own) if e.manifest.score is not None]
    base = taught[-1] if taught else learned[0]
    latest = max(learned, key=lambda entry: entry.manifest.step) if learned else taught[-1]
    best = own[max(scored)[2]] if scored else latest
    return [("latest", latest), ("best", best), ("base", base)]


def _read_state(path: Path) -> State:
    try:
        if path.is_symlink() or path.stat().st_size > _STATE_BYTES:
            return State()
        return State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return State()
    except ValidationError as error:
        return State().noting(f"{STATE_FILE} is not readable and was passed over: {error.errors()[0]['msg']}")


def _stamp(path: Path) -> _Stamp | None:
    """What tells a file from the one that took its place; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def _shown(name: str) -> str:
    """The caller's text, made safe to print."""
    return ascii(name[:80])
