"""A live run seen from another process: finds its controller, calls it, and prints its status.

The run's folder says where its Ray is; nothing here starts or stops anything.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

import ray
import ray.exceptions
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.errors import ClusterUnreachable
from cluster.files import jsonl
from cluster.ray.local import NAMESPACE
from cluster.ray.runtime import NotLive, connected, elsewhere
from cluster.run.folder import RunFolder, find_run
from cluster.run.lock import holder
from serving.runs.live import live
from trainers.status import RunStatus, controller_name
from verifier.errors import UserError

ANSWER_S: Final = 30.0


class LiveRun:
    """The controller of a live run. Every call raises ClusterUnreachable where no answer comes."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def status(self) -> RunStatus:
        """Where the run stands."""
        return _answer(self._actor.status.remote())

    def scale(self, rollout_workers: int | None, reward_workers: int | None) -> RunStatus:
        """Change the numbers of workers. Raises UserError if the run has no workers yet."""
        return _answer(self._actor.scale.remote(rollout_workers, reward_workers))


def _answer(reply: Any) -> RunStatus:
    try:
        return ray.get(reply, timeout=ANSWER_S)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, UserError) else error) from None
    except ray.exceptions.RayActorError as error:
        raise ClusterUnreachable("The run's controller ended before it answered.", "Ask again in a moment.") from error
    except ray.exceptions.GetTimeoutError as error:
        raise ClusterUnreachable(
            f"The run's controller did not answer in {ANSWER_S:g} s.", "Ask again; its machine may be busy."
        ) from error


@contextmanager
def live_run(run: str) -> Generator[LiveRun]:
    """The live run of a name or a folder. Raises RunFolderError and ClusterUnreachable."""
    folder = find_run(run)
    folder.recipe()  # raises if it is not a run's folder
    with _ray_of(folder):
        try:
            actor = ray.get_actor(controller_name(folder.path), namespace=NAMESPACE)
        except ValueError as error:
            raise ClusterUnreachable(
                f"{folder.path} {_where(folder)}; it has no workers before its first evaluation or RL stage.",
                "Try again then.",
            ) from error
        yield LiveRun(actor)


def _where(folder: RunFolder) -> str:
    at = live(folder.path)
    if at is None or not at.total:
        return "starts"
    return f"is at {at.done} of {at.total} of its stage {at.stage}"


@contextmanager
def _ray_of(folder: RunFolder) -> Generator[None]:
    try:
        with connected(folder.path):
            yield
    except NotLive as error:
        if (command := holder(folder.path)) is None:
            raise
        if not command.is_here:
            raise elsewhere(folder.path, *command) from error
        raise NotLive(f"{folder.path} is starting or ending ({command}).", "Try again in a few seconds.") from error


def show(progress: RunStatus, as_json: bool) -> None:
    """Print the status of a run, for a person or a program."""
    if as_json:
        print(jsonl.encode(asdict(progress)).decode(), end="")
        return
    console = Console(file=sys.stdout, highlight=False)
    numbers = "  ".join(f"{name} {value:.3f}" for name, value in progress.numbers.items())
    console.print(f"stage {progress.stage}  {progress.done}/{progress.total}  {numbers}", soft_wrap=True)
    for warning in progress.warnings:
        console.print(f"[yellow]warning[/yellow]: {escape(warning)}", soft_wrap=True)
    if progress.waits_for:
        console.print(escape(progress.waits_for), soft_wrap=True)
    if progress.fleet is not None:
        console.print(_workers(progress))


def _workers(progress: RunStatus) -> Table:
    assert progress.fleet is not None
    fleet = progress.fleet
    table = Table("worker", "state", "weights", "open", "restarts", box=None, pad_edge=False)
    for worker in fleet.workers:
        weights = "" if worker.weight_version is None else str(worker.weight_version)
        table.add_row(worker.name, worker.state, weights, str(worker.open), str(worker.failures))
    table.caption = (
        f"weights {fleet.weight_version}, parity {fleet.parity_max_abs_diff:.1e}, "
        f"restarts {fleet.rollout_restarts} + {fleet.reward_restarts}, groups sent again {fleet.resent_groups}, "
        f"verifier errors {fleet.verifier_errors}"
    )
    return table
