"""Every attack that we know of beside a polite client, on one server: what the client waits at rest, and under each;
then floods beside sixteen polite clients of another key: how much of their throughput they keep.

The server is `interplay serve` on a copy of a run folder, on loopback, with hostile checkpoints beside the run's own.
The attackers run in processes of their own and come from 127.0.0.2. About seven minutes; ends with 1 when a bar is not
held or a polite client met an error:

    python -m benchmarks.attack runs/demo [--seconds 8] [--only NAME]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
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

from benchmarks.server import serve_command
from cluster.serve.keys import add_key

SOURCE = "127.0.0.2"
PROMPT = "<question> There are 2 lions. </question> <solution>"
ASK = {"model": "latest", "prompt": PROMPT, "max_tokens": 16, "seed": 1}
BAR = "3 x rest + 50 ms"
CROWD = 16
SHARE = 0.4
BROKEN, SLOW = "broken", "slow"  # stages of the hostile checkpoints
MORE = [f"more-{number}" for number in range(6)]  # and of copies, more than there are places


@dataclass(frozen=True)
class Target:
    """Where the server is, and the attacker's key."""

    port: int
    key: str

    def post(self, path: str, body: bytes, key: bool = True) -> bytes:
        """A request as bytes."""
        allowed = f"Authorization: Bearer {self.key}\r\n" if key else ""
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{allowed}Content-Type: application/json\r\n"
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


def stage_attack(stage: str, prompt: str) -> Attack:
    """A completion by a hostile checkpoint."""
    body = {"model": f"run.{stage}@1", "prompt": prompt, "max_tokens": 1}
    return body_attack("/v1/completions", body)


async def every_checkpoint(target: Target) -> None:
    """One short completion by each copy, one after the other: each has to be loaded, and another to give way."""
    for stage in MORE:
        await stage_attack(stage, PROMPT)(target)


PROBE = {"model": "latest", "problem": {"op": 5}, "max_tokens": 200, "temperature": 1.0}
PASS_AT_K = {**PROBE, "samples": 64, "problems": 64, "ks": [1]}
UNREAD = {**ASK, "max_tokens": 900, "n": 64, "stream": True}
CHAT = {"model": "latest", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 100, "n": 64}
ALTERNATIVES = {**CHAT, "logprobs": True, "top_logprobs": 20}
IDS = {"model": "latest", "prompt": [1] * 19_000}
WRONG_IDS = {"model": "latest", "prompt": [1] + ["a"] * 19_900}
FIELDS = {**ASK, **{f"a{number}": 1 for number in range(9_900)}}
UPLOAD = b"POST /v1/completions HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n"
OWED = b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
TRAILER = b"POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "
RANGES = b"GET / HTTP/1.1\r\nConnection: close\r\nRange: bytes=" + b",".join([b"0-0"] * 100) + b"\r\n\r\n"
PAGE = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
BLANKS = {**ASK, "prompt": " " * 65_000, "max_tokens": 1}
DEEP = {"problem": {"op": 40}, "text": "Define a as A. " * 4_000}
ATTACKS: dict[str, Attack] = {
    "no key: unclosed quotes to an open path": many(4, body_attack("/healthz", b'"' + b'\\"' * 131_000, key=False)),
    "no key: an endless address": many(4, bytes_attack(b"GET /", b"a" * 65_536)),
    "no key: one endless header": many(4, bytes_attack(b"GET / HTTP/1.1\r\nA: ", b"a" * 65_536)),
    "no key: endless headers": many(4, bytes_attack(b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 10_000)),
    "no key: 3,000 half-open connections": many(3000, bytes_attack(b"GET / HTTP/1.1\r\n")),
    "no key: an endless body": many(4, bytes_attack(UPLOAD, b"a" * 65_536)),
    "no key: an endless trailer": many(4, bytes_attack(TRAILER, b"a" * 65_536)),
    "no key: 600 clients that owe a body": many(600, bytes_attack(OWED)),
    "no key: the page, again and again": many(8, bytes_attack(PAGE)),
    "no key: a hundred parts of the page": many(8, bytes_attack(RANGES)),
    "probe key: 256 KB of quotes": many(4, body_attack("/v1/completions", b'""' * 131_000)),
    "probe key: 256 KB of brackets": many(4, body_attack("/v1/completions", b"[]" * 131_000)),
    "probe key: 19,000 token ids": many(4, body_attack("/v1/completions", IDS)),
    "probe key: 19,900 wrong token ids": many(4, body_attack("/v1/completions", WRONG_IDS)),
    "probe key: 9,900 unknown fields": many(4, body_attack("/v1/completions", FIELDS)),
    "probe key: two pass@k of 64 x 64": many(2, body_attack("/v1/probe/pass-at-k", PASS_AT_K)),
    "probe key: streams of 64 that nobody reads": many(2, body_attack("/v1/completions", UNREAD, read=False)),
    "probe key: 200 clients": many(200, body_attack("/v1/completions", {**ASK, "max_tokens": 200})),
    "probe key: 64 samples with 20 alternatives": many(2, body_attack("/v1/chat/completions", ALTERNATIVES)),
    "probe key: a stream of the same": many(2, body_attack("/v1/chat/completions", {**ALTERNATIVES, "stream": True})),
    "probe key: 65,000 blanks": many(4, body_attack("/v1/completions", BLANKS)),
    "probe key: 60 KB to be judged": many(4, body_attack("/v1/probe/verify", DEEP)),
    "probe key: a checkpoint that does not load": many(4, stage_attack(BROKEN, PROMPT)),
    "probe key: a tokenizer that takes for ever": many(4, stage_attack(SLOW, "a" * 60_000)),
    "probe key: every checkpoint in turn": many(2, every_checkpoint),
    "read: openapi.json, again and again": many(8, get_attack("/openapi.json")),
    "read: the models, again and again": many(8, get_attack("/v1/models")),
}
FLOODS = (
    "probe key: two pass@k of 64 x 64",
    "probe key: streams of 64 that nobody reads",
    "probe key: 200 clients",
    "probe key: 64 samples with 20 alternatives",
)


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


async def crowded(port: int, key: str, seconds: float) -> tuple[float, int]:
    """What CROWD clients of one key are given who ask without a pause: answers a second, and errors."""
    answered, errors, end = 0, 0, time.monotonic() + seconds

    async def one(client: httpx.AsyncClient) -> None:
        nonlocal answered, errors
        while time.monotonic() < end:
            status = (await client.post("/v1/completions", json=ASK)).status_code
            answered += status == httpx.codes.OK
            errors += status != httpx.codes.OK

    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=90) as client:
        started = time.monotonic()
        await asyncio.gather(*(one(client) for _ in range(CROWD)))
        return answered / (time.monotonic() - started), errors


def plant(run: Path) -> None:
    """Checkpoints with valid manifests: weights that are none, a tokenizer that backtracks, and copies."""
    from actors.policy.checkpoint import CheckpointStore, Lineage

    store = CheckpointStore(run / "checkpoints")
    newest = store.latest("rl")
    assert newest is not None, f"{run} has no checkpoint of the RL stage"
    files = [path for path in store.path(newest.id).iterdir() if path.is_file() and path.name != "manifest.json"]

    def publish(stage: str, change: Callable[[Path], object]) -> None:
        def write(folder: Path) -> None:
            for path in files:
                shutil.copy(path, folder / path.name)
            change(folder)

        lineage = Lineage(run="run", stage=stage, step=1, parent=None, seed=0, tokens=1, flops=1.0, score=None)
        store.publish(lineage, write)

    publish(BROKEN, lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"))
    for stage in MORE:
        publish(stage, lambda folder: None)
    publish(SLOW, lambda folder: _slow_down(folder / "tokenizer.json"))


def _slow_down(path: Path) -> None:
    tokenizer = json.loads(path.read_text())
    split = {"type": "Split", "pattern": {"Regex": "(?:a|b)+[!?]"}, "behavior": "Isolated", "invert": False}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, tokenizer["pre_tokenizer"]]}
    path.write_text(json.dumps(tokenizer))


@contextmanager
def serving(run_dir: Path, folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The command on a copy of the run: its port, and the keys by name."""
    copy = Path(shutil.copytree(run_dir, folder / "run"))
    plant(copy)
    key_file = folder / "keys.json"
    # Each attack has a key of its own, so that none finds its budget spent.
    keys = {name: add_key(key_file, f"key-{number}:probe") for number, name in enumerate(("polite", *ATTACKS))}
    with serve_command([copy], key_file, keys["polite"], folder / "log") as port:
        yield port, keys


@contextmanager
def attacked(name: str, port: int, keys: dict[str, str]) -> Iterator[None]:
    """One attack, begun two seconds before the block."""
    command = [sys.executable, "-m", "benchmarks.attack", "--attack", name, "--port", str(port)]
    attacker = subprocess.Popen(command, env={**os.environ, "ATTACKER_KEY": keys[name]}, stderr=subprocess.DEVNULL)
    try:
        time.sleep(2.0)
        yield
    finally:
        attacker.kill()
        attacker.wait()
        time.sleep(2.0)


def report_waits(port: int, keys: dict[str, str], seconds: float, only: str) -> bool:
    """Print what one polite client waits; whether every median is within its bar and no request failed."""
    good = True
    politely(port, keys["polite"], 3.0)
    rest = politely(port, keys["polite"], seconds)
    print(f"| attack | median ms | 95th ms | errors | bar: {BAR} |\n|---|---|---|---|---|")
    print(f"| at rest | {rest.median:.0f} | {rest.worst_of_twenty:.0f} | {len(rest.errors)} | |", flush=True)
    for name in (name for name in ATTACKS if only in name):
        with attacked(name, port, keys):
            waits = politely(port, keys["polite"], seconds)
        held = waits.median <= 3 * rest.median + 50 and not waits.errors
        good &= held
        print(
            f"| {name} | {waits.median:.0f} | {waits.worst_of_twenty:.0f} | {len(waits.errors)} "
            f"| {'held' if held else 'NOT HELD'} {' '.join(sorted(set(waits.errors)))} |",
            flush=True,
        )
    return good


def report_shares(port: int, keys: dict[str, str], seconds: float, only: str) -> bool:
    """Print what CROWD polite clients keep; whether it is SHARE under every flood, without an error."""
    good = True
    print(f"\n| flood by one key | answers/s to {CROWD} of another | without | kept | errors | bar: {SHARE:.0%} |")
    print("|---|---|---|---|---|---|")
    for name in (name for name in FLOODS if only in name):
        alone, _ = asyncio.run(crowded(port, keys["polite"], seconds))  # each time: a machine's speed may change
        with attacked(name, port, keys):
            beside, errors = asyncio.run(crowded(port, keys["polite"], seconds))
        held = beside >= SHARE * alone and not errors
        good &= held
        kept = f"{beside:.1f} | {alone:.1f} | {beside / alone:.0%}"
        print(f"| {name} | {kept} | {errors} | {'held' if held else 'NOT HELD'} |", flush=True)
    return good


def report(run_dir: Path, seconds: float, only: str) -> bool:
    """Print both tables; whether all bars are held."""
    with tempfile.TemporaryDirectory() as folder, serving(run_dir, Path(folder)) as (port, keys):
        waits = report_waits(port, keys, seconds, only)
        return report_shares(port, keys, seconds, only) and waits


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
