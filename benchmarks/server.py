"""`interplay serve` as the benchmarks start it: in its own process, on a free port, until a model is ready."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx

READY_S: Final = 300.0
END_S: Final = 60.0


@contextmanager
def serve_command(run_dirs: Sequence[Path], key_file: Path, key: str, log: Path) -> Iterator[int]:
    """The command over these runs; yields its port. `key` is one of the file, to ask whether a model is ready."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    command = [sys.executable, "-m", "cluster", "serve", "--api-key-file", str(key_file), "--port", str(port)]
    with log.open("w") as file:
        server = subprocess.Popen([*command, *map(str, run_dirs)], stdout=file, stderr=file)
    try:
        _await_ready(server, port, key, log)
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(END_S)
        server.kill()


def _await_ready(server: subprocess.Popen[bytes], port: int, key: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            headers = {"authorization": f"Bearer {key}"}
            if httpx.get(f"http://127.0.0.1:{port}/readyz", headers=headers).status_code == httpx.codes.OK:
                return
        time.sleep(0.5)
    raise SystemExit(f"no model became ready within {READY_S:.0f} s: {log.read_text()[-2000:]}")
