"""Runs a plan on one Ray: as many runs at a time as there is room for, each as `interplay run` would.

A run is a Ray task that holds no resources itself; the actors that it starts do. The state of a run is read from its
folder alone, so a study that was killed continues from there. A run that fails is recorded and does not stop the
others; a run whose process is lost is started again.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import ray
import ray.exceptions

from actors.files import replace_text
from cluster.errors import StageFailed
from cluster.ray.local import NAMESPACE
from cluster.ray.packaging import own_folder
from cluster.ray.resources import Resources, of_ray, of_this_machine, require
from cluster.ray.runtime import running
from cluster.run.folder import RunFolder
from cluster.run.lock import RunHeld, held
from cluster.run.work.stages import run_stages
from cluster.run.work.workplace import asked
from cluster.study.folder import FAILURE_FILE, State, StudyFolder, take_over
from cluster.study.plan import Run
from serving.runs.live import live
from trainers.evaluation.ledger import StageRecord
from trainers.status import controller_name
from verifier.errors import Failure, UserError

POLL_S: Final = 1.0
PROGRESS_S: Final = 30.0
"""Time between two lines about the progress of the runs."""
SAVE_S: Final = 90.0
"""Time in which an interrupted run must save."""
FREE_S: Final = 60.0
"""Time in which the actors of a lost run must end."""
MAX_LOSSES: Final = 3
"""Lost processes of a run, without a finished stage between them, after which it has failed."""
RESOURCES: Final = tuple(field.name for field in fields(Resources))

Tell = Callable[[Run, StageRecord | str], None]
"""Called with every stage that a run finishes, or with a text about its progress or its failure."""


def needed(runs: Sequence[Run]) -> Resources:
    """The resources that any of the runs asks for."""
    each = [asked(run.recipe) for run in runs]
    return Resources(**{name: max(getattr(r, name) for r in each) for name in RESOURCES})


def require_room(runs: Sequence[Run]) -> None:
    """Raises NotEnough if this machine has too little for one of the runs."""
    require(needed(runs), of_this_machine(), "this machine")


def perform(
    folder: StudyFolder,
    runs: Sequence[Run],
    begin: Callable[[], None],
    tell: Tell,
    address: str | None,
    insecure: bool,
    wait_s: float,
) -> None:
    """Run what is not done. Returns when every run is done, has failed, or waits for one that has failed.

    `begin` is called once there is room, before the first run starts. `address`, `insecure` and `wait_s` are those of
    `cluster.ray.runtime.running`, whose errors it raises. On Ctrl-C the runs save first.
    """
    left = [run for run in runs if folder.standing(run).state is not State.DONE]
    if not left:
        begin()
        return
    room = needed(left)
    own = own_folder([run.recipe.model_dump(mode="json") for run in left], Path.cwd())
    with running(folder.path, room, address=address, insecure=insecure, wait_s=wait_s, own=own):
        begin()
        _Schedule(folder, left, tell, _width(room, of_ray(ray.cluster_resources()))).work()


def _width(each: Resources, there: Resources) -> int:
    """How many runs fit at a time, by their cores, GPUs and memory; at least one."""
    asked = [name for name in RESOURCES if getattr(each, name)]
    return max(1, int(min(getattr(there, name) / getattr(each, name) for name in asked) + 1e-9))


class _Schedule:
    def __init__(self, folder: StudyFolder, runs: Sequence[Run], tell: Tell, width: int) -> None:
        self.folder = folder
        self.waiting = list(runs)
        self.open: dict[Any, Run] = {}
        self._width = width
        self._tell = tell
        self._told = {run.name: len(folder.standing(run).stages) for run in runs}
        self._losses: Counter[str] = Counter()
        self._failed: set[str] = set()
        self._told_at = time.monotonic()

    def work(self) -> None:
        """Start runs and wait for them, until none is left."""
        try:
            while self.waiting or self.open:
                self._start()
                ended, _ = ray.wait(list(self.open), timeout=POLL_S) if self.open else ([], [])
                for run in self.open.values():
                    self._tell_stages(run)
                self._tell_progress()
                for reference in ended:
                    self._end(reference, self.open.pop(reference))
        except KeyboardInterrupt:
            self._interrupt()
            raise

    def _start(self) -> None:
        busy = {run.name for run in (*self.waiting, *self.open.values())}
        for run in tuple(self.waiting):
            if run.before in self._failed:
                self.waiting.remove(run)
                self._fail(run, f"{run.before}, which it starts from, failed")
            elif run.before not in busy and len(self.open) < self._width:
                self.waiting.remove(run)
                self.open[self._task(run)] = run

    def _task(self, run: Run) -> Any:
        return ray.remote(_run).options(num_cpus=0, max_retries=0, name=run.name).remote(self.folder, run)

    def _end(self, reference: Any, run: Run) -> None:
        try:
            failure: Any = ray.get(reference)
        except ray.exceptions.RayError as error:
            self._losses[run.name] += 1
            if self._losses[run.name] < MAX_LOSSES:
                self._tell(run, "its process was lost; it continues from what was saved")
                self.waiting.insert(0, run)
            else:
                self._fail(run, f"its process was lost {MAX_LOSSES} times: {error}")
        else:
            if failure is not None:
                self._fail(run, failure)

    def _fail(self, run: Run, failure: str) -> None:
        self._failed.add(run.name)
        path = self.folder.path_of(run.name)
        with suppress(RunHeld), held(path):  # the folder of another command is left alone
            replace_text(path / FAILURE_FILE, failure + "\n")
        self._tell(run, f"failed: {failure.strip().splitlines()[-1]}")

    def _tell_stages(self, run: Run) -> None:
        done = self.folder.standing(run).stages
        for record in done[self._told[run.name] :]:
            self._losses[run.name] = 0
            if record.name in run.own:
                self._tell(run, record)
        self._told[run.name] = len(done)

    def _tell_progress(self) -> None:
        if time.monotonic() - self._told_at < PROGRESS_S:
            return
        self._told_at = time.monotonic()
        for run in self.open.values():
            at = live(self.folder.path_of(run.name))
            if at is not None and at.total:
                self._tell(run, f"{at.stage:<12} {at.done}/{at.total}")

    def _interrupt(self) -> None:
        for reference in self.open:
            ray.cancel(reference, recursive=False)  # the run's own actors are asked to save, not ended
        ray.wait(list(self.open), num_returns=len(self.open), timeout=SAVE_S)


def _run(study: StudyFolder, run: Run) -> str | None:
    """What `interplay run --resume` does, in a process of Ray. Returns why it failed; None if it did not.

    A shared run that another study is at is waited for, and then done or continued.
    """
    folder = study.run(run)
    try:
        _await_end_of(controller_name(folder.path))
        with held(folder.path, wait=run.shared):
            (folder.path / FAILURE_FILE).unlink(missing_ok=True)
            recipe = study.recipe(run)
            take_over(folder, recipe, RunFolder(study.path_of(run.before)) if run.before else None)
            folder.open(recipe, resume=True)
            run_stages(recipe, folder, None, False, 0)
    except (UserError, Failure) as error:
        return " ".join(f"{error} {error.fix}".split())
    except Exception:  # an unexpected error: the other runs continue, and the report shows it
        return traceback.format_exc()
    return None


def _await_end_of(actor: str) -> None:
    """Wait until the actor of a lost run, which has this name, has ended. Raises StageFailed if it stays."""
    deadline = time.monotonic() + FREE_S
    while time.monotonic() < deadline:
        try:
            ray.get_actor(actor, namespace=NAMESPACE)
        except ValueError:
            return
        time.sleep(POLL_S / 5)
    raise StageFailed(f"another run of this cluster has the name {actor}")
