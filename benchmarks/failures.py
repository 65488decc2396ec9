"""Runs that are made to fail, and what the diagnosis says of each: real engines, real learner, a few minutes each.

    python -m benchmarks.failures --dir /tmp/failures [healthy never-ending ...]

Prints what was found in each run, with the step after which the live run warned of it, and ends with exit code 1 if a
fault is not named or the healthy run has a finding.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from actors.diagnosis.findings import Watch, diagnose
from trainers.evaluation.report import events_of
from verifier.judgement import Judgement
from verifier.task import Item

RECIPE = Path(__file__).with_name("failures.yaml")
WRONG_ENGINE = Path(__file__).with_name("wrong_engine")
RL = "stages.rl.rl"
_calls = itertools.count(1)


def long(item: Item, text: str, judgement: Judgement) -> float:
    """Pays for length, and for nothing else."""
    return min(1.0, len(text) / 1000)


def now_and_then(item: Item, text: str, judgement: Judgement) -> float:
    """Fails on one text in 150."""
    if next(_calls) % 150 == 0:
        raise ValueError("a fault made on purpose")
    return float(judgement.solved)


FAILURES: dict[str, tuple[str, ...]] = {
    "healthy": (),
    "healthy-asynchronous": (f"{RL}.max_staleness=4",),
    "learning-rate-too-high": (
        f"{RL}.learning.optimizer.learning_rate=3e-2",
        f"{RL}.learning.optimizer.warmup_steps=40",
    ),
    "never-ending": (f"{RL}.max_tokens=40",),
    "no-signal": (f"{RL}.task.ops=[12]", f"{RL}.task.shares=[1]", f"{RL}.task.max_facts=null"),
    "duplicate-samples": (f"{RL}.temperature=0.01",),
    "entropy-collapse": (f"{RL}.temperature=0.1", f"{RL}.learning.optimizer.learning_rate=8e-4"),
    "length-runaway": (
        f"{RL}.reward.name=benchmarks.failures:{long.__name__}",
        f"{RL}.learning.optimizer.learning_rate=1e-3",
    ),
    "reward-hacked": (
        f"{RL}.reward.name=benchmarks.failures:{long.__name__}",
        f"{RL}.learning.optimizer.learning_rate=1e-3",
    ),
    "verifier-errors": (f"{RL}.reward.name=benchmarks.failures:{now_and_then.__name__}",),
    "stale-data": (
        f"{RL}.max_staleness=8",
        f"{RL}.reward.name=benchmarks.failures:{long.__name__}",
        f"{RL}.learning.optimizer.learning_rate=1.5e-3",
    ),
    "engine-disagrees": (),  # see WRONG_ENGINE
}


def found_in(folder: Path, name: str) -> list[str]:
    """Run the recipe so that it fails in this way, unless the run is there, and print its findings; their names."""
    if not folder.exists():
        command = [sys.executable, "-m", "cluster", "run", str(RECIPE), "--run-dir", str(folder), *FAILURES[name]]
        wrong = {"PYTHONPATH": str(WRONG_ENGINE)} if name == "engine-disagrees" else {}
        subprocess.run(command, env={**os.environ, **wrong}, check=False)
    findings = diagnose(events_of(folder))
    told = dict(told_at(events_of(folder)))
    for finding in findings:
        print(f"  {finding.name}, told at step {told.get(finding.name)}: {finding.line}", flush=True)
    return [finding.name for finding in findings]


def told_at(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """The name of each finding, and the step after which the run, while it was live, warned of it."""
    watch = Watch("rl")
    for event in events:
        if event["event"] == "rl_step":
            yield from ((finding.name, event["step"]) for finding in watch.see(event))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("names", nargs="*", default=list(FAILURES))
    given = parser.parse_args()
    missed = []
    for name in given.names:
        print(name, flush=True)
        found = found_in(given.dir / name, name)
        if found if name.startswith("healthy") else name not in found:
            missed.append(name)
    print(f"not named: {', '.join(missed)}" if missed else "every fault is named")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
