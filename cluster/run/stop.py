"""Stops a run from another process: its command is asked to save and to end."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import psutil

from cluster.errors import StageFailed
from cluster.ray.runtime import NotLive
from cluster.run.folder import RunFolder
from cluster.run.lock import holder

STOP_S: Final = 120.0
"""How long a command may take to finish an RL step and save a checkpoint."""


def stop(folder: RunFolder, timeout_s: float = STOP_S) -> None:
    """Ask the command that works in the folder to save and end, and wait until it has.

    Raises:
        NotLive: no command of this machine works there.
        StageFailed: it has not ended in time.
    """
    command = holder(folder.path)
    if command is None:
        raise NotLive(f"{folder.path} is not a live run.", "There is nothing to stop.")
    if not command.is_here:
        raise NotLive(
            f"{folder.path} runs on another machine ({command}).",
            "Stop it there, or stop its job: interplay stop JOB --address URL.",
        )
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(command.pid)
        process.terminate()
        try:
            process.wait(timeout_s)
        except psutil.TimeoutExpired as error:
            raise StageFailed(f"{command} was asked to stop and has not ended in {timeout_s:g} s") from error
