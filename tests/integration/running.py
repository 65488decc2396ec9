"""The command in a process of its own, and what its run folder tells: for the tests that run whole recipes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from actors.policy.checkpoint import CheckpointStore
from actors.telemetry import read_events

SHORT = Path(__file__).with_name("short.yaml")
DEADLINE_S = 240.0


@contextmanager
def interplay(*arguments: str, environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """The command in a session of its own, ended with everything it started however the block ends."""
    command = [sys.executable, "-m", "cluster", *arguments]
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | (environ or {})
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    try:
        yield process
    finally:
        for member in [*descendants(process.pid), *([process] if process.poll() is None else [])]:
            member.kill()
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()


def run_to_its_end(run_dir: Path, *more: str) -> str:
    with interplay("run", str(SHORT), "--run-dir", str(run_dir), *more) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    return output


def final_weights(run_dir: Path) -> str:
    return CheckpointStore(run_dir / "checkpoints").get("rl-6").weight_hash


def learner_steps(run_dir: Path) -> list[dict]:
    return [dict(e) for e in read_events(run_dir / "metrics.jsonl") if e["event"] == "rl_step"]


def when(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until the run has come to a point; its end before that is a failure."""
    pause = threading.Event()
    while not condition():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        pause.wait(0.05)


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
