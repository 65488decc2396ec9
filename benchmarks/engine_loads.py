"""Seconds until an engine answers, and the memory that is left, as engines start and stop beside one that stays.

One line for each: seconds to its first token, and MiB that are in memory once (shared pages counted by their share)
while it runs and after it has stopped, of this process and all that come from it. About two seconds each:

    python -m benchmarks.engine_loads [--loads 10]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path

import psutil

from actors.config import EngineConfig, engine_env
from actors.engines.remote import RemoteEngine
from actors.records import Sampling

MODEL = Path(__file__).parents[1] / "cluster" / "bases" / "tiny-base" / "pretrain-4500"


async def started() -> RemoteEngine:
    """An engine that has written a token."""
    engine = await RemoteEngine.start(MODEL, EngineConfig())
    await engine.generate([4, 5, 6], Sampling(max_tokens=1))
    return engine


def mebibytes() -> float:
    """What this process and its descendants hold."""
    here = psutil.Process()
    return sum(process.memory_full_info().pss for process in (here, *here.children(recursive=True))) / 2**20


async def measure(loads: int) -> None:
    """Start, ask and stop so many engines, one after the other."""
    stays = await started()
    print(f"load  seconds  running  stopped\n{'-':>4}  {'':7}  {mebibytes():7.1f}")
    for load in range(1, loads + 1):
        began = time.monotonic()
        engine = await started()
        seconds, running = time.monotonic() - began, mebibytes()
        await engine.stop()
        print(f"{load:4}  {seconds:7.2f}  {running:7.1f}  {mebibytes():7.1f}", flush=True)
    await stays.stop()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=10)
    loads = parser.parse_args().loads
    os.environ.update(engine_env(EngineConfig()))  # what the engines' processes inherit
    asyncio.run(measure(loads))


if __name__ == "__main__":
    main()
