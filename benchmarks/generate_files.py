"""How fast `interplay generate` fills a file, by form of the file and number of processes; the bytes must not differ.

    python -m benchmarks.generate_files --count 50000

Times are of the whole command, start-up included. Prints a Markdown table; exit code 1 if two runs differ in a byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INTERPLAY = Path(sys.executable).with_name("interplay")
PRESET = "id2-10_uniform"
FORMS = (".jsonl", ".jsonl.gz", ".parquet")


def measure(count: int, jobs: int, out: Path) -> tuple[float, float, str]:
    """Wall seconds, processor seconds of all processes, and the digest of the file."""
    command = [INTERPLAY, "generate", "--preset", PRESET, "--count", str(count), "--jobs", str(jobs), "--out", out]
    before, start = os.times(), time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.monotonic() - start, os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, busy, hashlib.sha256(out.read_bytes()).hexdigest()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    same = True
    print(f"{args.count:,} problems of `{PRESET}`\n")
    print("| file | processes | seconds | problems/s | processor seconds | MB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            digests: set[str] = set()
            for jobs in args.jobs:
                out = Path(folder) / f"problems{form}"
                wall, busy, digest = measure(args.count, jobs, out)
                digests.add(digest)
                speed, size = args.count / wall, out.stat().st_size / 1e6
                print(f"| {form} | {jobs} | {wall:.1f} | {speed:,.0f} | {busy:.1f} | {size:.1f} |", flush=True)
            same &= len(digests) == 1
    print("\nThe bytes are the same for any number of processes." if same else "\nThe bytes DIFFER.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
