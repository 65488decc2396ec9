"""Seconds to write the report of a large study: by default 100 arms x 3 seeds, one claim for each arm.

    python -m benchmarks.study_report [--arms 100]

The evaluations are the published ones (docs/studies), over and over, each file with bytes of its own, so that only the
base is read once. The bar is 10 s for 100 arms. It prints the wall time and the processor time of this process: on a
machine that does other work too, the second is nearer to what the report costs.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from cluster.recipe.load import dump
from cluster.study.folder import Registration, StudyFolder
from cluster.study.model import AFTER, BEFORE, Scale, Study
from cluster.study.page import write_study
from trainers.evaluation.ledger import StageRecord

PUBLISHED: Final = Path(__file__).parent.parent / "docs" / "studies" / "extrapolation" / "evals"
STEPS: Final = 48
"""Steps of RL in the event log of each run."""


def large(arms: int) -> Registration:
    """A study of arms that differ in their learning rate, each claimed to be better than the next one and the base."""
    key = "stages.rl.rl.learning.optimizer.learning_rate"
    claims = [
        {"name": f"c{n}", "says": "It is better", "rule": "greater", "arm": f"a{n}", "band": "edge", "k": 16}
        | {"against": ["base", f"a{(n + 1) % arms}"]}
        for n in range(arms)
    ]
    study = Study.model_validate(
        {
            "name": "large",
            "question": "How long does a report take?",
            "equal": "samples",
            "scales": {"tiny": {"recipe": "study-tiny"}},
            "arms": {f"a{n}": {"says": "an arm", "changes": {key: 1e-4 + n * 1e-6}} for n in range(arms)},
            "claims": claims,
        }
    )
    return Registration(study=study, scale=Scale(recipe="study-tiny"))


def leave(folder: StudyFolder, given: Registration) -> None:
    """What the runs of the study leave behind when they are done."""
    folder.register(given)
    base = gzip.decompress((PUBLISHED / "base.json.gz").read_bytes())
    files = sorted(PUBLISHED.glob("*-[0-9].json.gz"))
    evaluations = itertools.cycle([gzip.decompress(file.read_bytes()) for file in files])
    step = {"time": 0.0, "event": "rl_step", "stage": "rl", "completions": 384}
    events = "".join(json.dumps({**step, "step": number}) + "\n" for number in range(1, STEPS + 1))
    for number, run in enumerate(given.plan().runs):
        path = folder.path_of(run.name)
        (path / "evals").mkdir(parents=True)
        (path / "recipe.yaml").write_text(dump(run.recipe))
        records = [StageRecord(s.name, s.kind, 1.0, 1000, 1e9, 5e3) for s in run.recipe.stages]
        (path / "stages.json").write_text(json.dumps([asdict(record) for record in records]))
        (path / "metrics.jsonl").write_text(events)
        (path / "evals" / f"{BEFORE}.json").write_bytes(base)
        if not run.shared:
            (path / "evals" / f"{AFTER}.json").write_bytes(next(evaluations).rstrip() + b" " * number)


def main() -> None:
    """Make the study, and time its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", type=int, default=100)
    arms = parser.parse_args().arms
    with tempfile.TemporaryDirectory() as made:
        folder = StudyFolder(Path(made) / "large")
        leave(folder, large(arms))
        begun, used = time.perf_counter(), time.process_time()
        found = write_study(folder)
        wall, cpu = time.perf_counter() - begun, time.process_time() - used
    seeds = len(found["seeds"])
    print(f"{arms} arms x {seeds} seeds: {wall:.1f} s, {cpu:.1f} s of processor time; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
