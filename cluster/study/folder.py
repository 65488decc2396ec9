"""The folder of a study, and the state of each of its runs.

    DIR/NAME/study.yaml  study-recipe.yaml  amended.yaml  study.json  study.html  figures/  ARM/SEED/
    DIR/shared/STAGE-IDENTITY/

`study.yaml` is the study as it was before its first run, with the claims; it is never written again, nor is
`study-recipe.yaml`, the copy of its recipe, if that is a file. If the study is changed afterwards, the new one is
`amended.yaml`. Each folder below is that of a run (`cluster.run.folder`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from actors.files import replace_text, sync
from cluster.recipe import plain_yaml
from cluster.recipe.config import Recipe
from cluster.recipe.identity import FREE_KEYS, changes, refused
from cluster.recipe.load import dump, tree_of
from cluster.run.folder import MAX_NAMED, RunFolder
from cluster.run.lock import holder
from cluster.study.load import StudyError, checked, is_file, placed
from cluster.study.model import SHARED, Scale, Study
from cluster.study.plan import OWN_KEYS, Plan, Run, make_plan
from trainers.evaluation.ledger import StageRecord

STUDIES: Final = Path("studies")
"""The default place of studies, where they are also looked up by name."""
STUDY_FILE: Final = "study.yaml"
AMENDED_FILE: Final = "amended.yaml"
FAILURE_FILE: Final = "failure.txt"
RECIPE_FILE: Final = "study-recipe.yaml"
TAKEN_OVER: Final = ("tokenizer", "evals", "metrics.jsonl", "stages.json")


class State(StrEnum):
    """The state of a run."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    STOPPED = "stopped"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a run, its finished stages, and why it failed if it did."""

    state: State
    stages: tuple[StageRecord, ...]
    failure: str | None = None

    def stage(self, run: Run) -> str | None:
        """The first of the run's own stages that is not finished; None if all are."""
        done = {record.name for record in self.stages}
        return next((name for name in run.own if name not in done), None)


class Registration(BaseModel):
    """What `study.yaml` holds: the study, the scale that was chosen, and the overrides of the command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: Study
    scale: Scale
    overrides: tuple[str, ...] = ()

    def plan(self) -> Plan:
        """The plan of the study. Raises the errors of `make_plan`."""
        return make_plan(self.study, self.scale, self.overrides)


class StudyFolder:
    """Paths, the registered study, and the states of its runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether a study was registered here."""
        return os.path.exists(self.path / STUDY_FILE)

    def register(self, given: Registration) -> None:
        """Record the study before its first run; later, compare the given study with that record.

        A recipe file is copied, and recorded as the copy: the study goes on with the file in another place, and is
        reported without it. Raises the errors of `refuse_other`.
        """
        self.refuse_other(given)
        self.path.mkdir(parents=True, exist_ok=True)
        study, copy = self.path / STUDY_FILE, self.path / RECIPE_FILE
        if is_file(given.scale.recipe):
            if not self.exists():
                replace_text(copy, Path(given.scale.recipe).read_text(encoding="utf-8"))
            if copy.exists():  # an older version made none
                given = given.model_copy(update={"scale": given.scale.model_copy(update={"recipe": RECIPE_FILE})})
        if not self.exists():
            replace_text(study, _text(given))
        elif given == checked(Registration, study.read_bytes(), str(study)):
            (self.path / AMENDED_FILE).unlink(missing_ok=True)
        else:
            replace_text(self.path / AMENDED_FILE, _text(given))

    def refuse_other(self, given: Registration) -> None:
        """Raises StudyError, with the differences, if the folder holds another study, or this one at another scale."""
        if self.exists() and (differences := _other_study(self.registered(), given)):
            told = "; ".join(differences[:MAX_NAMED])
            raise StudyError(f"{self.path} holds another study: {told}.", "Name another --dir.")

    def registered(self) -> Registration:
        """The study as it was before the first run. Raises StudyError."""
        if not self.exists():
            raise StudyError(f"{self.path} is no study folder: it has no {STUDY_FILE}.", "Name the folder of a study.")
        return _read(self.path / STUDY_FILE)

    def current(self) -> Registration:
        """The study as it was last run."""
        amended = self.path / AMENDED_FILE
        return _read(amended) if amended.exists() else self.registered()

    def amendments(self) -> list[str]:
        """What was changed since the first run, one line for each key."""
        if not (self.path / AMENDED_FILE).exists():
            return []
        first, now = _claims_by_name(self.registered()), _claims_by_name(self.current())
        return [str(change) for change in changes(first, now)]

    def path_of(self, run: str) -> Path:
        """The folder of a run by its name."""
        return (self.path.parent if run.startswith(f"{SHARED}/") else self.path) / run

    def run(self, run: Run) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.path_of(run.name))

    def standing(self, run: Run) -> Standing:
        """The state of a run, read from its folder."""
        folder = self.run(run)
        stages = tuple(folder.stages())
        failure = folder.path / FAILURE_FILE
        if set(run.own) <= {record.name for record in stages}:
            return Standing(State.DONE, stages)
        if holder(folder.path) is not None:
            return Standing(State.RUNNING, stages)
        if failure.exists():
            return Standing(State.FAILED, stages, failure.read_text(encoding="utf-8").strip())
        return Standing(State.STOPPED if folder.begun else State.WAITING, stages)

    def recipe(self, run: Run) -> Recipe:
        """The recipe of a run. A shared run that was begun keeps its own, whose results are the same by its name."""
        folder = self.run(run)
        if not (run.shared and folder.begun):
            return run.recipe
        placed = {key: getattr(run.recipe, key) for key in ("fleet", "learner", "trackers")}
        return folder.recipe().model_copy(update=placed)

    def still_needed(self, runs: Sequence[Run]) -> list[Run]:
        """The runs without those shared ones that are not done and that all which follow have taken over already.

        So a study goes on, and is done, without the folder of the shared runs.
        """
        wanted: set[str | None] = set()
        found: list[Run] = []
        for run in reversed(runs):  # each comes after the one that it starts from
            done = self.standing(run).state is State.DONE
            if done or not run.shared or run.name in wanted:
                found.append(run)
                if not self.run(run).begun:
                    wanted.add(run.before)
        return found[::-1]

    def refuse_changed(self, runs: Sequence[Run]) -> None:
        """Raises StudyError, with the differences, if the folder of a run holds another recipe than the plan."""
        for run in runs:
            folder = self.run(run)
            if not folder.begun:
                continue
            if lines := refused(folder.recipe(), self.recipe(run), {record.name for record in folder.stages()}):
                raise StudyError(
                    f"{folder.path} was run with another recipe: {'; '.join(lines[:MAX_NAMED])}.",
                    "Undo the change, name another --dir, or remove that folder to run it again.",
                )

    def at_hand(self, runs: Sequence[Run]) -> list[Run]:
        """The runs with their own weights, or those they start from, in the place of bases that are copied already."""
        found: list[Run] = []
        begun: dict[str | None, RunFolder] = {}
        for run in runs:
            folder = self.run(run)
            begun[run.name] = folder if folder.begun else begun.get(run.before, folder)
            found.append(replace(run, recipe=begun[run.name].at_hand(run.recipe)))
        return found


def find_study(name: str) -> StudyFolder | None:
    """The study in a folder, or of a name in `studies`; None if there is none."""
    folders = (StudyFolder(path.resolve()) for path in (Path(name), STUDIES / name))
    return next((folder for folder in folders if folder.exists()), None)


def take_over(folder: RunFolder, recipe: Recipe, before: RunFolder | None) -> None:
    """Fill a run's folder with the results of the run `before` it: newest checkpoint, tokenizer, scores and records.

    A folder with a recipe is left as it is. The leftovers of an interrupted call are replaced.
    """
    if folder.begun:
        return
    for name in ("checkpoints", *TAKEN_OVER):
        _remove(folder.path / name)
    if before is not None:
        for name in TAKEN_OVER:
            _copy(before.path / name, folder.path / name)
        if (newest := before.store.latest()) is not None:
            folder.store.adopt(before.store, newest.id)
    replace_text(folder.recipe_file, dump(recipe))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(path: Path, to: Path) -> None:
    """Copy a file or a folder, if there is one, and sync it: the recipe comes after, and says that all is there."""
    if path.is_dir():
        to.mkdir()
        for inner in path.iterdir():
            _copy(inner, to / inner.name)
    elif path.exists():
        shutil.copyfile(path, to)
    else:
        return
    sync(to)


def _text(registration: Registration) -> str:
    return plain_yaml.write(registration.model_dump(mode="json"))


def _read(path: Path) -> Registration:
    found = checked(Registration, path.read_bytes(), str(path))
    return found.model_copy(update={"scale": placed(found.scale, path.parent)})


def _other_study(first: Registration, given: Registration) -> list[str]:
    """The differences in name, scale, recipe or overrides, which make it another study.

    Two recipe files count by what they say of the results of runs, wherever they lie.
    """
    both = (first, given)
    old, new = ({"name": r.study.name, **r.model_dump(mode="json", exclude={"study"})} for r in both)
    if all(is_file(r.scale.recipe) and os.path.isfile(r.scale.recipe) for r in both):
        old["scale"]["recipe"], new["scale"]["recipe"] = (_said(r.scale.recipe) for r in both)
    return [str(change) for change in changes(old, new)]


def _said(recipe: str) -> dict[str, Any]:
    """The keys of a recipe file but for those that decide nothing or that a study sets itself, with stages by name."""
    tree = {key: value for key, value in tree_of(recipe).items() if key not in FREE_KEYS and key not in OWN_KEYS}
    return {**tree, "stages": {stage["name"]: stage for stage in tree["stages"]}}


def _claims_by_name(registration: Registration) -> dict[str, Any]:
    tree = registration.study.model_dump(mode="json", exclude={"scales"})  # the one that is run is compared by itself
    return {**tree, "claims": {claim["name"]: claim for claim in tree["claims"]}}
