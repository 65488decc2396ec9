"""Memory of a process in which engines start and stop beside one that stays, as a server's do.

One line for each: resident memory once the freed pages are back with the system, and the objects that Python's
collector looks at or has been told not to. About three seconds each:

    python -m benchmarks.engine_loads [--loads 10]
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import os
from pathlib import Path

import psutil

MODEL = Path(__file__).parents[1] / "cluster" / "bases" / "tiny-base" / "pretrain-4500"


async def measure(loads: int) -> None:
    """Start, ask and stop so many engines, one after the other."""
    from actors.config import EngineConfig
    from actors.engines.protocol import start_engine
    from actors.records import Sampling

    stays = await start_engine(MODEL, EngineConfig())
    print("load  MiB  objects")
    for load in range(1, loads + 1):
        engine = await start_engine(MODEL, EngineConfig())
        await engine.generate([4, 5, 6], Sampling(max_tokens=2))
        await engine.stop()
        del engine
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        mib = psutil.Process().memory_info().rss / 2**20
        print(f"{load:4}  {mib:.1f}  {len(gc.get_objects()) + gc.get_freeze_count()}", flush=True)
    await stays.stop()


def main() -> None:
    """The command."""
    from actors.config import EngineConfig, engine_env

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=10)
    loads = parser.parse_args().loads
    os.environ.update(engine_env(EngineConfig()))  # read when vLLM and torch are imported
    asyncio.run(measure(loads))


if __name__ == "__main__":
    main()
