"""Memory of the server under all attacks and many loads of models: is it flat once it has reached its plateau?

The attacks of `benchmarks.attack` take turns, half a minute each; after each of them six checkpoints are loaded, more
than there are places. Ends with 1 when the server's memory after the first third of the time is not within 50 MB:

    python -m benchmarks.endurance runs/demo [--minutes 60] [--turn 30]
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from benchmarks.attack import ATTACKS, MORE, PROMPT, attacked, serving

BAR_MB = 50.0


def replica_mb() -> float:
    """Memory of the replica that this process's server runs and of its engines, in megabytes, shared pages once."""
    family = psutil.Process().children(recursive=True)
    (replica,) = [one for one in family if "".join(one.cmdline()[:1]).startswith("ray::ServeReplica")]
    processes = (replica, *replica.children(recursive=True))
    return sum(process.memory_full_info().pss for process in processes) / 1e6


def load_all(port: int, key: str) -> None:
    """Ask every copy for one token, so that each has to be loaded."""
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=90) as client:
        for stage in MORE:
            client.post("/v1/completions", json={"model": f"run.{stage}@1", "prompt": PROMPT, "max_tokens": 1})


def loads(port: int, key: str) -> int:
    """Models that the server has loaded so far."""
    headers = {"authorization": f"Bearer {key}"}
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=90).text.splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("interplay_model_loads_total")))


def turns(port: int, keys: dict[str, str], minutes: float, turn_s: float) -> Iterator[tuple[float, int, float, str]]:
    """After each attack: minutes since the start, loads, memory, and the attack's name."""
    started = time.monotonic()
    for name in itertools.cycle(ATTACKS):
        with attacked(name, port, keys):
            time.sleep(turn_s)
        load_all(port, keys["polite"])
        yield (time.monotonic() - started) / 60, loads(port, keys["polite"]), replica_mb(), name
        if time.monotonic() - started > 60 * minutes:
            return


def flat(run_dir: Path, minutes: float, turn_s: float) -> bool:
    """Print the memory after each attack; whether it is flat after the first third."""
    plateau: list[float] = []
    with tempfile.TemporaryDirectory() as folder, serving(run_dir, Path(folder)) as (port, keys):
        print("| minute | loads | MB | after |\n|---|---|---|---|")
        for minute, loaded, used, name in turns(port, keys, minutes, turn_s):
            print(f"| {minute:.1f} | {loaded} | {used:.0f} | {name} |", flush=True)
            if minute > minutes / 3:
                plateau.append(used)
    spread = max(plateau) - min(plateau)
    print(f"\nafter the first third: {min(plateau):.0f} to {max(plateau):.0f} MB, bar {BAR_MB:.0f} MB apart")
    return spread <= BAR_MB


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder with a checkpoint; it is copied, not touched")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--turn", type=float, default=30.0, help="seconds of one attack")
    given = parser.parse_args()
    sys.exit(0 if flat(given.run, given.minutes, given.turn) else 1)


if __name__ == "__main__":
    main()
