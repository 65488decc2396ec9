"""A Ray head on the loopback interface that ends, with all its processes, when the command that started it ends.

`cluster.ray.local` runs this file by its path, in a session of its own: a signal to the command's process group does
not reach Ray, so the command can save and clean up while Ray still answers. This process adopts all processes of Ray.
It learns of the command's end by the end of its standard input, which the kernel closes even after `kill -9`. It
imports none of our packages.

    python -P head.py '{"folder": ..., "cpus": ..., "gpus": ..., "object_store_bytes": ...}'

One line on standard output: `{"address": "127.0.0.1:PORT"}` or `{"error": "..."}`.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

TEMPORARY: Final = "r"  # Ray makes its own folder readable by everybody; ours, around it, is private
# Ray gives its own processes 20 to 30 seconds to start, fixed in its code; a loaded machine may need more.
START_ATTEMPTS: Final = 4
SLOW_START: Final = (b"timed out during startup", b"Failed to start GCS")
RAYLET_GRACE_S: Final = 5.0
KILL_S: Final = 10.0
# Ray's ports for metrics need no token. The second is always opened, unless its number is an impossible one.
NO_METRICS: Final = {"RAY_enable_metrics_collection": "0", "DASHBOARD_METRIC_PORT": "-1"}
# Ray starts a worker for each core before there is work. None is used: all of ours have an environment of their own.
NO_IDLE_WORKERS: Final = {"RAY_prestart_worker_first_driver": "0"}
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER: Final = 36


def main() -> None:
    """Start Ray, print its address, wait for the end of the command, end everything and remove the folder."""
    settings = json.loads(sys.argv[1])
    # A service manager may signal every process of the service; the end of the command is the signal that counts.
    for number in _SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        os.write(1, _answer(settings))
        while not _command_ended():
            _reap()
    finally:
        _end_family()
        shutil.rmtree(settings["folder"], ignore_errors=True)


def _answer(settings: dict[str, Any]) -> bytes:
    """The line for the command. A start that only timed out is tried again."""
    answer = b""
    for _ in range(START_ATTEMPTS):
        answer = _start_apart(settings)
        if not any(words in answer for words in SLOW_START):
            break
        _end_family()
    return answer


def _start_apart(settings: dict[str, Any]) -> bytes:
    """Start Ray in a child process, to free the memory that starting takes; this process adopts those of Ray."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        _start_and_leave(settings, writing)
    os.close(writing)
    readable, _, _ = select.select([reading, 0], [], [])  # the command may end while we wait
    answer = os.read(reading, 1 << 16) if reading in readable else b""
    os.close(reading)
    return answer or b'{"error": "its start ended without a message"}\n'


def _start_and_leave(settings: dict[str, Any], writing: int) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.environ.update(NO_METRICS | NO_IDLE_WORKERS)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):  # what Ray prints is not part of our answer, and its processes must not keep our input open
        os.dup2(nowhere, standard)
    try:
        answer = {"address": _start(settings)}
    except BaseException as error:  # also SystemExit, by which Ray reports some failures
        answer = {"error": f"{type(error).__name__}: {error}"}
    os.write(writing, json.dumps(answer).encode() + b"\n")
    os._exit(0)


def _start(settings: dict[str, Any]) -> str:
    """The address of a new Ray. Every port was free, on 127.0.0.1; no metrics are exported."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    # As `ray start --head`, which would import Ray's whole command line; `ray.init` cannot choose the agent's port.
    parameters = RayParams(
        num_cpus=settings["cpus"],
        num_gpus=settings["gpus"],
        object_store_memory=settings["object_store_bytes"],
        temp_dir=str(Path(settings["folder"]) / TEMPORARY),
        dashboard_agent_listen_port=0,
        include_dashboard=False,  # pyright: ignore[reportArgumentType]  # annotated as a string
        include_log_monitor=False,  # pyright: ignore[reportArgumentType]  # likewise
        no_monitor=True,
    )
    return Node(parameters, head=True, shutdown_at_exit=False, spawn_reaper=False).gcs_address


def _command_ended() -> bool:
    """Whether standard input has ended; waits up to a second."""
    readable, _, _ = select.select([0], [], [], 1.0)
    return bool(readable) and os.read(0, 1) == b""


def _reap() -> None:
    """Reap the children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_family() -> None:
    """Ask the raylet to end its workers, then kill what is left."""
    this = psutil.Process()
    for child in this.children():
        with suppress(psutil.Error):
            if child.name() == "raylet":
                child.terminate()
                _await_end(child, RAYLET_GRACE_S)
    deadline = time.monotonic() + KILL_S
    while (members := this.children(recursive=True)) and time.monotonic() < deadline:
        for member in members:
            with suppress(psutil.Error):
                member.kill()
        time.sleep(0.02)
        _reap()


def _await_end(child: psutil.Process, timeout_s: float) -> None:
    with suppress(psutil.TimeoutExpired):
        child.wait(timeout_s)


if __name__ == "__main__":
    main()
