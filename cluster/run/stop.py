"""Stops a run or a study from another process: its command is asked to save and to end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from cluster.errors import StageFailed
from cluster.ray.runtime import NotLive
from cluster.run.lock import Holder, holder, note_stop

STOP_S: Final = 120.0
"""How long a command may take to finish an RL step and save a checkpoint."""


def stop(folder: Path, timeout_s: float = STOP_S) -> None:
    """Ask the command that works in the folder to save and end, and wait until it has.

    Raises NotLive as `ask_to_stop`, and StageFailed if it has not ended in time.
    """
    command = ask_to_stop(folder)
    with suppress(psutil.NoSuchProcess):
        try:
            psutil.Process(command.pid).wait(timeout_s)
        except psutil.TimeoutExpired as error:
            raise StageFailed(f"{command} was asked to stop and has not ended in {timeout_s:g} s") from error


def ask_to_stop(folder: Path) -> Holder:
    """Ask the command that works in the folder to save and end. Raises NotLive if none of this machine works there.

    However often it is asked, it gets one signal: a second one would end it without saving.
    """
    command = holder(folder)
    if command is None:
        raise NotLive(f"{folder} is not a live run.", "There is nothing to stop.")
    if not command.is_here:
        raise NotLive(
            f"{folder} runs on another machine ({command}).",
            "Stop it there, or stop its job: interplay stop JOB --address URL.",
        )
    if note_stop(folder):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(command.pid).terminate()
    return command
