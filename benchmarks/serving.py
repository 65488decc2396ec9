"""What HTTP costs, and what happens when too many ask: the same requests to the bare vLLM engine and to Ray Serve.

Both sides get the same prompts, seeds and sampling on the same checkpoint and engine settings, warm, each in processes
of its own. The engine is measured before and after the server, so that a drift of the machine shows. On the server
then come 200 clients at once, and a new checkpoint under load. Takes under three minutes:

    python -m benchmarks.serving --run-dir runs/demo [--requests 512] [--max-tokens 96] [--proxy]

The run folder needs two checkpoints of the RL stage at least. It is copied, not touched.
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
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.http_client import Answer, Client

if TYPE_CHECKING:
    from actors.policy.checkpoint import Manifest
    from cluster.serve.server import Plan

CONCURRENCY = 32
SINGLE = 200
WARM_UP = 64
OP = 5
CROWD = 200
CROWD_S = 10.0
CROWD_KEYS = 16  # one key may ask 100 times a second
SWAP_CLIENTS = 8
SWAP_S = 30.0

Ask = Callable[[str, int, bool], Awaitable[int]]


@dataclass(frozen=True)
class Side:
    """What one side did: tokens and requests a second at CONCURRENCY, whole and streamed; milliseconds one by one."""

    tokens_per_s: float
    requests_per_s: float
    streamed_tokens_per_s: float
    single_ms: list[float]


@dataclass(frozen=True)
class Crowd:
    """CROWD clients: answers by status, milliseconds seen by the clients, refusals over 50 ms on the server, memory."""

    statuses: dict[str, int]
    without_retry_after: int
    accepted_ms: list[float]
    refused_ms: list[float]
    refused_on_server: int
    refused_on_server_over_50_ms: int
    mib_before: float
    mib_after: float


@dataclass(frozen=True)
class Swap:
    """A checkpoint published under load: answers by status and by model, the slowest one, seconds until it answered."""

    statuses: dict[str, int]
    models: dict[str, int]
    slowest_ms: float
    taken_up_s: float


def main() -> None:
    """Run the sides and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=512)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--proxy", action="store_true", help="go through Serve's proxy, as on several nodes")
    parser.add_argument("--side", choices=["engine", "http"], help=argparse.SUPPRESS)
    parser.add_argument("--newest", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        side = _engine_side(args) if args.side == "engine" else _http_side(args)
        print(json.dumps(asyncio.run(side)))
        return
    with tempfile.TemporaryDirectory(prefix="interplay-bench-") as folder:
        args.newest = _split(args.run_dir, Path(folder))
        args.run_dir = Path(folder) / "run"
        before, http, after = (_run_side(side, args) for side in ("engine", "http", "engine"))
    _report([Side(**before), Side(**after)], Side(**http["side"]))
    _report_crowd(Crowd(**http["crowd"]))
    _report_swap(Swap(**http["swap"]))


def _split(run_dir: Path, folder: Path) -> Path:
    """Copies of all checkpoints but the newest into `folder`/run, and of the newest beside it."""
    from actors.policy.checkpoint import CheckpointStore

    source = CheckpointStore(run_dir / "checkpoints")
    newest = source.latest("rl")
    assert newest is not None, f"{run_dir} has no checkpoint of the RL stage"
    for store, chosen in (("run", [m for m in source.list() if m.id != newest.id]), ("newest", [newest])):
        for manifest in chosen:
            CheckpointStore(folder / store / "checkpoints").adopt(source, manifest.id)
    return folder / "newest"


def _run_side(side: str, args: argparse.Namespace) -> dict:
    from actors.config import EngineConfig, engine_env

    command = [sys.executable, "-m", "benchmarks.serving", "--side", side, "--run-dir", str(args.run_dir)]
    command += ["--requests", str(args.requests), "--max-tokens", str(args.max_tokens), "--newest", str(args.newest)]
    command += ["--proxy"] * args.proxy
    env = {**os.environ, **engine_env(EngineConfig())}
    out = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


# --- Reports ----------------------------------------------------------------------------------------------------------


def _report(engine: list[Side], http: Side) -> None:
    print(f"{'':28}{'engine':>10}{'again':>10}{'http':>10}")
    for name in ("requests_per_s", "tokens_per_s", "streamed_tokens_per_s"):
        bare, ours = [getattr(side, name) for side in engine], getattr(http, name)
        row = "".join(f"{value:>10.1f}" for value in (*bare, ours))
        print(f"{name:<28}{row}   ratio {ours / statistics.mean(bare):.3f}")
    for at in (0.50, 0.99):
        bare, ours = [_quantile(side.single_ms, at) for side in engine], _quantile(http.single_ms, at)
        row = "".join(f"{value:>10.2f}" for value in (*bare, ours))
        print(f"{f'latency p{at * 100:.0f} at 1, ms':<28}{row}   added {ours - statistics.mean(bare):.2f}")


def _report_crowd(crowd: Crowd) -> None:
    print(f"{CROWD} clients for {CROWD_S:.0f} s: {crowd.statuses}, 503 without Retry-After {crowd.without_retry_after}")
    for name, values in (("accepted", crowd.accepted_ms), ("refused", crowd.refused_ms)):
        tail = ", ".join(f"p{at * 100:.0f} {_quantile(values, at):.1f}" for at in (0.5, 0.99))
        print(f"  {name}, ms at the client: {tail}, max {max(values):.1f}")
    print(f"  refused over 50 ms, on the server: {crowd.refused_on_server_over_50_ms} of {crowd.refused_on_server}")
    print(f"  memory of the server, MiB: {crowd.mib_before:.0f} -> {crowd.mib_after:.0f}")


def _report_swap(swap: Swap) -> None:
    print(f"new checkpoint under {SWAP_CLIENTS} clients: {swap.statuses}, {swap.models}")
    print(f"  slowest answer {swap.slowest_ms:.0f} ms, taken up {swap.taken_up_s:.1f} s after it was published")


def _quantile(values: list[float], at: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(at * 100) - 1]


# --- The two sides ----------------------------------------------------------------------------------------------------


async def _engine_side(args: argparse.Namespace) -> dict:
    from actors.config import EngineConfig
    from actors.engines.protocol import start_engine
    from actors.policy.tokenizer import load_tokenizer
    from actors.records import Sampling
    from verifier.seeds import derive

    store, newest = _newest(args.run_dir)
    tokenizer = load_tokenizer(store.path(newest.id))
    engine = await start_engine(store.path(newest.id), EngineConfig(), newest.step)

    async def ask(prompt: str, seed: int, stream: bool) -> int:
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        # The seed that the server derives for the only sample of the only prompt.
        sampling = Sampling(max_tokens=args.max_tokens, seed=derive(seed, 0, 0), stop_token_ids=(3,))
        if not stream:
            return len((await engine.generate(ids, sampling)).token_ids)
        return sum([len(delta.token_ids) async for delta in engine.stream(ids, sampling)])

    try:
        return asdict(await _measured(ask, args.requests))
    finally:
        await engine.stop()


def _newest(run_dir: Path):
    from actors.policy.checkpoint import CheckpointStore

    store = CheckpointStore(run_dir / "checkpoints")
    newest: Manifest | None = store.latest("rl")
    assert newest is not None, f"{run_dir} needs two checkpoints of the RL stage"
    return store, newest


async def _http_side(args: argparse.Namespace) -> dict:
    from cluster.ray.resources import Resources
    from cluster.ray.runtime import running
    from cluster.serve import server

    plan, keys = _plan(args.run_dir, args.proxy)
    server.prepare_environment()
    with running(None, Resources(1.0)):
        await asyncio.to_thread(server.start, plan)
        try:
            client = Client(plan.port, keys[0])
            await client.complete({"prompt": "<question> </question> <solution>", "max_tokens": 1})  # loads the model

            async def ask(prompt: str, seed: int, stream: bool) -> int:
                body = {"prompt": prompt, "seed": seed, "max_tokens": args.max_tokens, "stream": stream}
                body["return_token_ids"] = stream
                return (await client.complete(body)).tokens

            side = await _measured(ask, args.requests)
            crowd = await _crowd(plan.port, keys)
            swap = await _swap(plan.port, keys[0], args)
            return {"side": asdict(side), "crowd": asdict(crowd), "swap": asdict(swap)}
        finally:
            await asyncio.to_thread(server.stop, plan)


def _plan(run_dir: Path, proxy: bool) -> tuple[Plan, list[str]]:
    """The server as `interplay serve` starts it with room for 32, and its keys."""
    import socket

    from cluster.serve import server
    from cluster.serve.keys import add_key

    key_file = run_dir / "keys.json"
    keys = [add_key(key_file, f"client-{n}:probe") for n in range(CROWD_KEYS)]
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    plan = server.plan(
        run_dirs=(run_dir,),
        host="127.0.0.1",
        port=port,
        key_file=key_file,
        engines=2,
        replicas=1,
        gpus=0,
        running=CONCURRENCY,
        queued=CONCURRENCY,
    )
    return plan.through_proxy() if proxy else plan, keys


# --- What is measured -------------------------------------------------------------------------------------------------


def _prompts() -> list[str]:
    from verifier.graphs.generate import generate
    from verifier.graphs.problem import ProblemSpec
    from verifier.graphs.tell import prompt_text

    problems = [generate(ProblemSpec(OP), seed) for seed in range(64)]
    return [prompt_text(p.problem, p.question) for p in problems]


async def _measured(ask: Ask, requests: int) -> Side:
    """Warm up, then `requests` at CONCURRENCY, half as many as streams, then SINGLE one after the other."""
    prompts = _prompts()

    async def many(count: int, stream: bool) -> tuple[int, float]:
        turns = iter(range(count))

        async def one() -> int:
            return sum([await ask(prompts[i % len(prompts)], i, stream) for i in turns])

        started = time.perf_counter()
        tokens = sum(await asyncio.gather(*(one() for _ in range(CONCURRENCY))))
        return tokens, time.perf_counter() - started

    await many(WARM_UP, False)
    tokens, seconds = await many(requests, False)
    streamed, streaming_s = await many(requests // 2, True)
    single = []
    for i in range(SINGLE):
        begun = time.perf_counter()
        await ask(prompts[i % len(prompts)], i, False)
        single.append((time.perf_counter() - begun) * 1000)
    return Side(tokens / seconds, requests / seconds, streamed / streaming_s, single)


async def _crowd(port: int, keys: list[str]) -> Crowd:
    """Clients that ask again at once after an answer, and after a refusal when they were told to."""
    prompts = _prompts()
    answers: list[Answer] = []
    ends = time.monotonic() + CROWD_S

    async def one(number: int) -> None:
        client = Client(port, keys[number % len(keys)])
        await asyncio.sleep(number / CROWD)  # they do not all arrive in one moment
        while time.monotonic() < ends:
            body = {"prompt": prompts[number % len(prompts)], "seed": number, "max_tokens": 96}
            answers.append(await client.complete(body, refused_too=True))
            if answers[-1].status != 200:
                await asyncio.sleep(float(answers[-1].retry_after or 1))
        client.close()

    observer = Client(port, keys[0])
    counted, slow = await _refusals(observer)
    before = _server_mib()
    await asyncio.gather(*(one(number) for number in range(CROWD)))
    after = _server_mib()
    counted_after, slow_after = await _refusals(observer)
    refused = [a for a in answers if a.status == 503]
    return Crowd(
        statuses={str(k): v for k, v in Counter(a.status for a in answers).items()},
        without_retry_after=sum(a.retry_after is None for a in refused),
        accepted_ms=[a.ms for a in answers if a.status == 200],
        refused_ms=[a.ms for a in refused],
        refused_on_server=counted_after - counted,
        refused_on_server_over_50_ms=slow_after - slow,
        mib_before=before,
        mib_after=after,
    )


async def _refusals(client: Client) -> tuple[int, int]:
    """Refusals that the server has counted, and those among them that took it more than 50 ms."""
    lines = (await client.get("/metrics")).body.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("interplay_refusal_seconds"))
    count = float(values["interplay_refusal_seconds_count"])
    return int(count), int(count - float(values['interplay_refusal_seconds_bucket{le="0.05"}']))


def _server_mib() -> float:
    """Resident memory of the proxy and the replica."""
    import psutil

    mine = [p for p in psutil.Process().children(recursive=True) if _is_server(p.cmdline())]
    return sum(p.memory_info().rss for p in mine) / 2**20


def _is_server(command: list[str]) -> bool:
    return bool(command) and command[0].startswith(("ray::ProxyActor", "ray::ServeReplica"))


async def _swap(port: int, key: str, args: argparse.Namespace) -> Swap:
    """Keep asking for `latest`, publish a newer checkpoint, go on until it answers everyone."""
    from actors.policy.checkpoint import CheckpointStore

    prompts, answers = _prompts(), []
    stop = asyncio.Event()

    async def one(number: int) -> None:
        client = Client(port, key)
        for seed in _until(stop):
            body = {"prompt": prompts[seed % len(prompts)], "seed": seed, "max_tokens": 32}
            answers.append(await client.complete(body, refused_too=True))
        client.close()

    clients = [asyncio.create_task(one(number)) for number in range(SWAP_CLIENTS)]
    while len(answers) < 4 * SWAP_CLIENTS:  # noqa: ASYNC110 - polled rarely enough to cost nothing
        await asyncio.sleep(0.05)
    old = answers[0].model
    newest = CheckpointStore(args.newest / "checkpoints")
    store = CheckpointStore(args.run_dir / "checkpoints")
    await asyncio.to_thread(store.adopt, newest, newest.list()[0].id)
    published = time.monotonic()
    while time.monotonic() < published + SWAP_S and answers[-1].model == old:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    taken_up = time.monotonic() - published
    await asyncio.sleep(1.0)
    stop.set()
    await asyncio.gather(*clients)
    return Swap(
        statuses={str(k): v for k, v in Counter(a.status for a in answers).items()},
        models=dict(Counter(a.model for a in answers)),
        slowest_ms=max(a.ms for a in answers),
        taken_up_s=taken_up,
    )


def _until(stop: asyncio.Event) -> Iterator[int]:
    number = 0
    while not stop.is_set():
        yield number
        number += 1


if __name__ == "__main__":
    main()
