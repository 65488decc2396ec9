"""Every attack that we know of beside a polite client, on one server: what the client waits at rest, and under each.

The server is `interplay serve` on a copy of a run folder, on loopback; the attackers run in processes of their own and
come from 127.0.0.2. About five minutes; ends with 1 when a wait is over its bar or the polite client met an error:

    python -m benchmarks.attack runs/demo [--seconds 8] [--only NAME]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

SOURCE = "127.0.0.2"
READY_S = 300.0
PROMPT = "<question> There are 2 lions. </question> <solution>"
ASK = {"model": "latest", "prompt": PROMPT, "max_tokens": 16, "seed": 1}
BARS = "3 x rest + 50 ms"


@dataclass(frozen=True)
class Target:
    """Where the server is, and the attacker's key."""

    port: int
    key: str

    def post(self, path: str, body: bytes, key: bool = True) -> bytes:
        """A request as bytes."""
        allowed = f"Authorization: Bearer {self.key}\r\n" if key else ""
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{allowed}Content-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


Attack = Callable[[Target], Coroutine[Any, Any, None]]


async def send(target: Target, data: bytes, again: bytes = b"", read: bool = True) -> None:
    """One connection: send, go on sending, and read to the end or never."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port, local_addr=(SOURCE, 0))
        writer.write(data)
        while again:
            await writer.drain()
            writer.write(again)
        await writer.drain()
        while read and await reader.read(1 << 16):
            pass
        if not read:
            writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
            await asyncio.sleep(60)
        writer.close()


def many(count: int, one: Attack) -> Attack:
    """The same at `count` connections, each again as soon as it has ended."""

    async def forever(target: Target) -> None:
        while True:
            started = time.monotonic()
            await one(target)
            await asyncio.sleep(max(0.0, 0.005 - (time.monotonic() - started)))

    async def attack(target: Target) -> None:
        await asyncio.gather(*(forever(target) for _ in range(count)))

    return attack


def bytes_attack(data: bytes, again: bytes = b"") -> Attack:
    """Bytes that need no key."""
    return lambda target: send(target, data, again)


def body_attack(path: str, body: object, key: bool = True, read: bool = True) -> Attack:
    """A request with a body: bytes as they are, all else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda target: send(target, target.post(path, content, key), read=read)


def get_attack(path: str) -> Attack:
    """A reading request with the attacker's key."""
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer "
    return lambda target: send(target, f"{head}{target.key}\r\n\r\n".encode())


PROBE = {"model": "latest", "problem": {"op": 5}, "max_tokens": 200, "temperature": 1.0}
PASS_AT_K = {**PROBE, "samples": 64, "problems": 64, "ks": [1]}
UNREAD = {**ASK, "max_tokens": 900, "n": 64, "stream": True}
CHAT = {"model": "latest", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 200, "n": 64}
ALTERNATIVES = {**CHAT, "logprobs": True, "top_logprobs": 20}
IDS = {"model": "latest", "prompt": [1] * 19_000}
UPLOAD = b"POST /v1/completions HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n"
PAGE = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
ATTACKS: dict[str, Attack] = {
    "no key: unclosed quotes to an open path": many(4, body_attack("/healthz", b'"' + b'\\"' * 131_000, key=False)),
    "no key: an endless address": many(4, bytes_attack(b"GET /", b"a" * 65_536)),
    "no key: one endless header": many(4, bytes_attack(b"GET / HTTP/1.1\r\nA: ", b"a" * 65_536)),
    "no key: endless headers": many(4, bytes_attack(b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 10_000)),
    "no key: 3,000 half-open connections": many(3000, bytes_attack(b"GET / HTTP/1.1\r\n")),
    "no key: an endless body": many(4, bytes_attack(UPLOAD, b"a" * 65_536)),
    "no key: the page, again and again": many(8, bytes_attack(PAGE)),
    "probe key: 256 KB of quotes": many(4, body_attack("/v1/completions", b'""' * 131_000)),
    "probe key: 256 KB of brackets": many(4, body_attack("/v1/completions", b"[]" * 131_000)),
    "probe key: 19,000 token ids": many(4, body_attack("/v1/completions", IDS)),
    "probe key: two pass@k of 64 x 64": many(2, body_attack("/v1/probe/pass-at-k", PASS_AT_K)),
    "probe key: streams of 64 that nobody reads": many(2, body_attack("/v1/completions", UNREAD, read=False)),
    "probe key: 200 clients": many(200, body_attack("/v1/completions", {**ASK, "max_tokens": 200})),
    "probe key: 64 samples with 20 alternatives": many(2, body_attack("/v1/chat/completions", ALTERNATIVES)),
    "read: openapi.json, again and again": many(8, get_attack("/openapi.json")),
}


@dataclass(frozen=True)
class Waits:
    """What the polite client met, in milliseconds."""

    times: list[float]
    errors: list[str]

    @property
    def median(self) -> float:
        """The middle of all waits."""
        return statistics.median(self.times) if self.times else float("inf")

    @property
    def worst_of_twenty(self) -> float:
        """The 95th percentile."""
        return sorted(self.times)[int(len(self.times) * 0.95)] if self.times else float("inf")


def politely(port: int, key: str, seconds: float) -> Waits:
    """Ask one after the other, for so long."""
    waits = Waits([], [])
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=90) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.monotonic()
            try:
                answer = client.post("/v1/completions", json=ASK)
            except httpx.HTTPError as error:
                waits.errors.append(type(error).__name__)
                continue
            waits.times.append((time.monotonic() - started) * 1000)
            if answer.status_code != httpx.codes.OK:
                waits.errors.append(str(answer.status_code))
    return waits


@contextmanager
def serving(run_dir: Path, folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The command on a copy of the run: its port, and the keys by name."""
    copy = shutil.copytree(run_dir, folder / "run")
    key_file = folder / "keys.json"
    command = [sys.executable, "-m", "cluster", "serve", "--api-key-file", str(key_file)]
    keys = {}
    for name in ("polite", "attacker"):
        said = subprocess.run([*command, "--add-key", f"{name}:probe"], check=True, capture_output=True, text=True)
        keys[name] = next(word for word in said.stdout.split() if word.startswith("ip_"))
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([*command, str(copy), "--port", str(port)], stdout=log, stderr=log)
    try:
        _await_ready(port, keys["polite"], folder / "log")
        yield port, keys
    finally:
        server.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(60)
        server.kill()


def _await_ready(port: int, key: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            headers = {"authorization": f"Bearer {key}"}
            if httpx.get(f"http://127.0.0.1:{port}/readyz", headers=headers).status_code == httpx.codes.OK:
                return
        time.sleep(0.5)
    raise SystemExit(f"no model became ready within {READY_S:.0f} s: {log.read_text()[-2000:]}")


def under(name: str, port: int, keys: dict[str, str], seconds: float) -> Waits:
    """The polite client's waits while one attack runs, begun two seconds before."""
    command = [sys.executable, "-m", "benchmarks.attack", "--attack", name, "--port", str(port)]
    attacker = subprocess.Popen(
        command, env={**os.environ, "ATTACKER_KEY": keys["attacker"]}, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(2.0)
        return politely(port, keys["polite"], seconds)
    finally:
        attacker.kill()
        attacker.wait()


def report(run_dir: Path, seconds: float, only: str) -> bool:
    """Print the table; whether every wait is within its bar and no polite request failed."""
    good = True
    with tempfile.TemporaryDirectory() as folder, serving(run_dir, Path(folder)) as (port, keys):
        politely(port, keys["polite"], 3.0)
        rest = politely(port, keys["polite"], seconds)
        print(f"| attack | median ms | 95th ms | errors | bar: {BARS} |\n|---|---|---|---|---|")
        print(f"| at rest | {rest.median:.0f} | {rest.worst_of_twenty:.0f} | {len(rest.errors)} | |", flush=True)
        for name in (name for name in ATTACKS if only in name):
            waits = under(name, port, keys, seconds)
            held = waits.median <= 3 * rest.median + 50 and not waits.errors
            good &= held
            print(
                f"| {name} | {waits.median:.0f} | {waits.worst_of_twenty:.0f} | {len(waits.errors)} "
                f"| {'held' if held else 'NOT HELD'} {' '.join(sorted(set(waits.errors)))} |",
                flush=True,
            )
            time.sleep(2.0)
    return good


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a run folder with a checkpoint; it is copied, not touched")
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="of the polite client, at rest and under each attack"
    )
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.attack:
        asyncio.run(ATTACKS[given.attack](Target(given.port, os.environ["ATTACKER_KEY"])))
        return
    if given.run is None:
        parser.error("name the folder that `interplay run` wrote")
    sys.exit(0 if report(given.run, given.seconds, given.only) else 1)


if __name__ == "__main__":
    main()
