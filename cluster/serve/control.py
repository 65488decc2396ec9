"""How a server reaches the runs that it shows: by the commands that a person would type.

A process is connected to one Ray, and a replica's is the server's, so each command is a process of its own.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from serving.runs.control import NotTaken

logger = logging.getLogger(__name__)
ANSWER_S: Final = 45.0
"""Below the deadline of every answer of the server; joining a Ray takes seconds."""


class RunCommands:
    """`serving.runs.control.RunControl` by `interplay scale` and `interplay stop`."""

    def scale(self, run_dir: Path, rollout_workers: int | None, reward_workers: int | None) -> None:
        """See the protocol."""
        counts = {"--rollout-workers": rollout_workers, "--reward-workers": reward_workers}
        _run(run_dir, "scale", *(f"{option}={count}" for option, count in counts.items() if count is not None))

    def stop(self, run_dir: Path) -> None:
        """See the protocol."""
        _run(run_dir, "stop", "--no-wait")


def _run(run_dir: Path, command: str, *options: str) -> None:
    words = [sys.executable, "-P", "-m", "cluster", command, str(run_dir), *options]
    # The packages that this process has, wherever a replica found them, and never a file of the current folder.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        ended = subprocess.run(  # noqa: S603 - our own command, a folder of our settings and numbers
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=ANSWER_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotTaken(f"no answer in {ANSWER_S:g} s; look where it stands before you ask again") from error
    if ended.returncode:
        logger.warning("run_command_failed", extra={"command": command, "code": ended.returncode, "said": ended.stderr})
        raise NotTaken(_cause(ended.stderr, run_dir))


def _cause(said: str, run_dir: Path) -> str:
    """What the command gave as its error, with the run's name in the place of its folder."""
    errors = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")]
    cause = errors[-1].partition(" fix: ")[0] if errors else "the command failed; the server's log has what it said"
    return cause.replace(str(run_dir), run_dir.name)
