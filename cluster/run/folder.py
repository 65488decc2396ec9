"""The run folder: one directory that holds all of a run, and the record of which stages are done.

    recipe.yaml  metrics.jsonl  checkpoints/<id>/  evals/<stage>.json  evals/<stage>.texts.json
    evals/<stage>.unfinished.jsonl (what it has measured, until it is done)
    drawn/<stage>.json  stages.json  report.json  report.html

Small files are replaced whole (written aside, synced, renamed), so a killed run finds the old or the new one.
"""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Final

from actors.files import replace_text
from actors.policy.checkpoint import CheckpointStore
from cluster.errors import RunFolderError
from cluster.recipe.config import BaseStage, Recipe
from cluster.recipe.identity import refused
from cluster.recipe.load import RecipeError, dump, load
from trainers.evaluation.evaluate import Evaluation
from trainers.evaluation.ledger import StageRecord
from trainers.evaluation.unfinished import unfinished_path
from trainers.pretrain.rejection import Drawn

RUNS: Final = Path("runs")
"""The default place of run folders, where runs are also looked up by name."""
MAX_NAMED: Final = 8
"""Changed keys that a message names."""


def is_run(name: str) -> bool:
    """Whether there is a run with this folder or name."""
    return any(os.path.isdir(path / "checkpoints") for path in (Path(name), RUNS / name))


def find_run(run: str) -> RunFolder:
    """The run that a person named, by its folder or by its name in `runs`. Raises RunFolderError."""
    path = next((path for path in (Path(run), RUNS / run) if os.path.isdir(path)), None)  # a name may be too long
    if path is None:
        names = sorted(path.name for path in RUNS.glob("*/"))
        near = difflib.get_close_matches(run, names, n=1)
        here = f"runs here: {', '.join(names)}" if names else "there are no runs here"
        hint = f"did you mean {near[0]}?" if near else here
        raise RunFolderError(f"there is no run {run}.", f"Name a run's folder, or its name in {RUNS}; {hint}")
    return RunFolder(path.resolve())


class RunFolder:
    """Paths and small records of one run. The run has the name of its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.store = CheckpointStore(path / "checkpoints")
        self.metrics = path / "metrics.jsonl"
        self.recipe_file = path / "recipe.yaml"

    @property
    def begun(self) -> bool:
        """Whether there is a recipe in the folder."""
        return os.path.exists(self.recipe_file)

    def open(self, recipe: Recipe, resume: bool) -> None:
        """Make the folder, or continue in the one that exists. A run that has done no work yet is replaced.

        Raises RunFolderError if it holds a run and `resume` is false, or a run of another recipe
        (`cluster.recipe.identity` says what may change), or a recipe that no run has written.
        """
        if not (self.begun and self._worked()):
            self._begin(recipe)
        elif not resume:
            raise RunFolderError(
                f"{self.path} holds a run already.", "Add --resume to continue it, or name another --run-dir."
            )
        else:
            self._change(recipe)
        self.store.sweep()

    def _begin(self, recipe: Recipe) -> None:
        """Write the recipe, but not over one that a person has written. Raises RunFolderError."""
        if self.begun and not self._wrote_recipe():
            raise RunFolderError(
                f"{self.recipe_file} is not from a run, and a run in that folder would replace it.",
                "Name another --run-dir.",
            )
        self.path.mkdir(parents=True, exist_ok=True)
        replace_text(self.recipe_file, dump(recipe))

    def _wrote_recipe(self) -> bool:
        """Whether the recipe has the form in which a run writes it."""
        try:
            return self.recipe_file.read_bytes() == dump(self.recipe()).encode()
        except RecipeError:
            return False

    def _change(self, recipe: Recipe) -> None:
        """Continue with a changed recipe that gives the same results. Raises RunFolderError."""
        lines = refused(self.recipe(), recipe, {record.name for record in self.stages()})
        if lines:
            more = f"; and {len(lines) - MAX_NAMED} more" if len(lines) > MAX_NAMED else ""
            raise RunFolderError(
                f"{self.path} was started with another recipe: {'; '.join(lines[:MAX_NAMED])}{more}.",
                "Name another --run-dir, or undo the change (docs/operations.md says what may change).",
            )
        replace_text(self.recipe_file, dump(recipe))

    def _worked(self) -> bool:
        return any((self.path / name).exists() for name in ("stages.json", "metrics.jsonl", "checkpoints"))

    def recipe(self) -> Recipe:
        """The recipe as the run resolved it. Its tasks are not opened, so no code that it names is run."""
        if not self.begun:
            raise RunFolderError(
                f"{self.path} is not a run folder: it has no recipe.yaml.", "Name the folder of a run."
            )
        return load(str(self.recipe_file), open_tasks=False)

    def at_hand(self, recipe: Recipe) -> Recipe:
        """The recipe with the run's own weights in the place of a base that it has copied and no longer needs."""
        done = {record.name for record in self.stages()}
        copied = [stage for stage in recipe.stages if isinstance(stage, BaseStage) and stage.name in done]
        weights = self.store.list() if copied else []
        if not weights:
            return recipe
        own = {"base": str(self.store.path(weights[-1].id))}
        stages = (stage.model_copy(update=own) if stage in copied else stage for stage in recipe.stages)
        return recipe.model_copy(update={"stages": tuple(stages)})

    def stages(self) -> list[StageRecord]:
        """What the finished stages spent, in order."""
        path = self.path / "stages.json"
        return [StageRecord(**r) for r in json.loads(path.read_text())] if os.path.exists(path) else []

    def finish(self, record: StageRecord) -> None:
        """Record that a stage is done; only then goes what an evaluation of a killed run would go on with."""
        records = [asdict(r) for r in (*self.stages(), record)]
        replace_text(self.path / "stages.json", json.dumps(records, indent=1) + "\n")
        unfinished_path(self.path, record.name).unlink(missing_ok=True)

    def save_evaluation(self, stage: str, evaluation: Evaluation) -> None:
        """Save what an eval stage measured: its texts, and then all else, in a file of its own."""
        (self.path / "evals").mkdir(exist_ok=True)
        replace_text(self._texts(stage), json.dumps(evaluation.texts_record()) + "\n")
        replace_text(self.path / "evals" / f"{stage}.json", json.dumps(evaluation.record()) + "\n")

    def save_drawn(self, stage: str, drawn: Drawn) -> None:
        """Save what a rejection stage has drawn, so that a resumed stage trains on the same."""
        (self.path / "drawn").mkdir(exist_ok=True)
        replace_text(self.path / "drawn" / f"{stage}.json", json.dumps(drawn.record()) + "\n")

    def drawn(self, stage: str) -> Drawn | None:
        """What a rejection stage has drawn; None before it has drawn everything."""
        path = self.path / "drawn" / f"{stage}.json"
        return Drawn.from_record(json.loads(path.read_text())) if path.exists() else None

    def evaluation(self, stage: str) -> Evaluation | None:
        """What an eval stage measured; None before it is done."""
        path = self.path / "evals" / f"{stage}.json"
        return Evaluation.from_record(json.loads(path.read_text())) if path.exists() else None

    def evaluation_with_texts(self, stage: str) -> Evaluation | None:
        """The same with its texts, of which an older version kept none."""
        evaluation, path = self.evaluation(stage), self._texts(stage)
        return evaluation.with_texts(json.loads(path.read_text())) if evaluation and path.exists() else evaluation

    def _texts(self, stage: str) -> Path:
        return self.path / "evals" / f"{stage}.texts.json"
