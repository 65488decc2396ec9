"""How much the HTTP path costs: the same requests through Ray Serve and straight into the vLLM engine.

Prints throughput at concurrency 32 with the ratio, and latency at concurrency 1 with what HTTP adds. Both sides run one
after the other, each in processes of its own, with one engine thread:

    python -m benchmarks.serving [--run-dir RUN] [--requests 256] [--max-tokens 96]

Without --run-dir a run of one random tiny policy (0.9M parameters) is made in a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

CONCURRENCY = 32
SINGLE = 200
WARM_UP = 64
OP = 5


def main() -> None:
    """Run both sides and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--side", choices=["engine", "http"])
    args = parser.parse_args()
    if args.side:
        print(json.dumps(asyncio.run(_measure(args))))
        return
    with tempfile.TemporaryDirectory(prefix="interplay-bench-") as folder:
        run_dir = args.run_dir or _tiny_run(Path(folder))
        sides = {side: _run_side(side, run_dir, args) for side in ("engine", "http")}
    _report(sides["engine"], sides["http"])


def _run_side(side: str, run_dir: Path, args: argparse.Namespace) -> dict[str, list[float]]:
    from actors.config import EngineConfig, engine_env

    command = [sys.executable, "-m", "benchmarks.serving", "--side", side, "--run-dir", str(run_dir)]
    command += ["--requests", str(args.requests), "--max-tokens", str(args.max_tokens)]
    env = {**os.environ, **engine_env(EngineConfig())}
    out = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def _report(engine: dict[str, list[float]], http: dict[str, list[float]]) -> None:
    print(f"{'':24}{'engine':>10}{'http':>10}")
    for name, unit in (("tokens_per_s", "tokens/s"), ("requests_per_s", "requests/s")):
        print(f"{unit:<24}{engine[name][0]:>10.1f}{http[name][0]:>10.1f}")
    print(f"{'ratio':<24}{'':>10}{http['tokens_per_s'][0] / engine['tokens_per_s'][0]:>10.3f}")
    for label, at in (("p50", 0.50), ("p99", 0.99)):
        ours, bare = _quantile(http["single_ms"], at), _quantile(engine["single_ms"], at)
        print(f"latency {label} at 1, ms{'':<6}{bare:>10.2f}{ours:>10.2f}   added {ours - bare:.2f}")


def _quantile(values: list[float], at: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(at * 100) - 1]


async def _measure(args: argparse.Namespace) -> dict[str, list[float]]:
    side = _engine_side if args.side == "engine" else _http_side
    return await side(args)


async def _engine_side(args: argparse.Namespace) -> dict[str, list[float]]:
    from actors.checkpoint import CheckpointStore
    from actors.config import EngineConfig
    from actors.engine import start_engine
    from actors.records import Sampling
    from actors.tokenizer import load_tokenizer

    store = CheckpointStore(args.run_dir / "checkpoints")
    directory = store.path(store.list()[-1].id)
    tokenizer = load_tokenizer(directory)
    engine = await start_engine(directory, EngineConfig(), 0)

    async def ask(prompt: str, seed: int) -> int:
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        sampling = Sampling(max_new_tokens=args.max_tokens, seed=seed, stop_token_ids=(3,))
        return len((await engine.generate(ids, sampling)).token_ids)

    try:
        return await _load(ask, args.requests)
    finally:
        await engine.stop()


async def _http_side(args: argparse.Namespace) -> dict[str, list[float]]:
    from cluster import server
    from cluster.resources import Resources
    from cluster.runtime import running

    plan = server.plan(
        run_dirs=(args.run_dir,),
        host="127.0.0.1",
        port=_free_port(),
        key_file=None,
        engines=1,
        replicas=1,
        gpus=0,
        running=CONCURRENCY,
        queued=CONCURRENCY,
    )
    server.prepare_environment()
    with running(args.run_dir / "serving", Resources(1.0)):
        await asyncio.to_thread(server.start, plan)
        try:
            client = _Client(plan.port, plan.shown_key or "", args.max_tokens)
            await client.ask("<question> </question> <solution>", 0)  # loads the model
            return await _load(client.ask, args.requests)
        finally:
            await asyncio.to_thread(server.stop, plan)


class _Client:
    """A bare HTTP/1.1 client on kept-alive connections: the client shares the cores, so it must cost little."""

    def __init__(self, port: int, key: str, max_tokens: int) -> None:
        self._port = port
        self._key = key
        self._max_tokens = max_tokens
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, prompt: str, seed: int) -> int:
        body = json.dumps({"model": "latest", "prompt": prompt, "seed": seed, "max_tokens": self._max_tokens}).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(head.encode() + body)
        status, answer = await _read_answer(reader)
        self._idle.append((reader, writer))
        if status != 200:
            raise RuntimeError(f"{status}: {answer[:300]!r}")
        return json.loads(answer)["usage"]["completion_tokens"]


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split(" ", 2)[1])
    if "content-length:" in head:
        return status, await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
    parts = []
    while size := int((await reader.readline()).strip(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return status, b"".join(parts)


async def _load(ask: Callable[[str, int], Awaitable[int]], requests: int) -> dict[str, list[float]]:
    """Warm up, then `requests` at CONCURRENCY, then SINGLE one after the other."""
    from verifier.generate import generate
    from verifier.problem import ProblemSpec
    from verifier.render import prompt_text

    problems = [generate(ProblemSpec(OP), seed) for seed in range(64)]
    prompts = [prompt_text(p.problem, p.question) for p in problems]

    async def many(count: int) -> int:
        turns = iter(range(count))

        async def one() -> int:
            return sum([await ask(prompts[i % len(prompts)], i) for i in turns])

        return sum(await asyncio.gather(*(one() for _ in range(CONCURRENCY))))

    await many(WARM_UP)
    started = time.perf_counter()
    tokens = await many(requests)
    seconds = time.perf_counter() - started
    single = []
    for i in range(SINGLE):
        begun = time.perf_counter()
        await ask(prompts[i % len(prompts)], i)
        single.append((time.perf_counter() - begun) * 1000)
    return {"tokens_per_s": [tokens / seconds], "requests_per_s": [requests / seconds], "single_ms": single}


def _tiny_run(folder: Path) -> Path:
    from actors.checkpoint import CheckpointStore, Lineage
    from actors.policy import PolicyConfig, build, save
    from actors.tokenizer import phrase_tokenizer

    tokenizer = phrase_tokenizer([])
    config = PolicyConfig(layers=4, hidden=128, ffn=384, heads=4, kv_heads=2, max_positions=1024)
    store = CheckpointStore(folder / "tiny" / "checkpoints")
    lineage = Lineage(run="tiny", stage="rl", step=1, parent=None, seed=0)
    store.publish(lineage, lambda directory: save(build(config, len(tokenizer), 0), tokenizer, directory))
    return folder / "tiny"


def _free_port() -> int:
    import socket

    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


if __name__ == "__main__":
    main()
