"""A soak under kill -9: do processes that die at random change what a run or a study ends in?

    python -m benchmarks.kills DIR --kills 100 --minutes 4      # again and again, until it prints its line
    python -m benchmarks.kills DIR --of study --kills 5

`DIR/unbroken` is the recipe, or the study, run once. `DIR/broken` is the same under bursts of one to five kills, each
burst after a step further, so that some hit work that goes on and some work that is still being mended. Who dies and
when is drawn from the seed. A command that was killed is started again with --resume, and so is a study one of whose
runs was. Compared are a run's last weights, and a study's `study.json` without its seconds. The kills are kept in
`DIR/kills.jsonl`, so a call ends after its minutes and the next one goes on. Exit code 1: the ends differ, the command
gave up, or nothing came further for ten minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from actors.policy.checkpoint import CheckpointStore
from actors.telemetry import read_events
from verifier.seeds import derive

RECIPE: Final = (
    "smoke",
    "stages.pretrain.train.checkpoint_every=5",
    "stages.pretrain.train.report_every=5",
    "stages.rl.rl.steps=40",
)
STUDY: Final = (str(Path(__file__).parents[1] / "tests" / "integration" / "study.yaml"), "stages.rl.rl.steps=40")
COMMAND: Final = "command"
VICTIMS: Final = {
    "rollout worker": r"ray::RolloutWorker",
    "reward worker": r"ray::RewardWorker",
    "learner rank": r"ray::LearnerRank",
    "controller": r"ray::Controller",
    "run of a study": r"ray::[^./]+/",
}
"""The kinds of processes besides the command itself, and how their titles begin."""
MOST_IN_A_ROW: Final = 5
STUCK_S: Final = 600.0
FAILED: Final = 1
"""The exit code of work that failed, as a study does with one of its runs."""


class Stuck(Exception):
    """The run does not come to its end; the message says what was seen."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: of which burst, of what, and how many steps the run had done by then."""

    burst: int
    victim: str
    steps: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What is run: its arguments before the folder, what of its end is compared, and whether its parts may fail."""

    arguments: tuple[str, ...]
    end: Callable[[Path], str]
    parts_fail: bool


class Run:
    """The command on a folder, started again whenever it was killed."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.folder = folder
        self._subject = subject
        self._log = folder.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._hurt = False

    def alive(self) -> bool:
        """Whether there is work left; starts the command where it is not running. Raises Stuck when it failed."""
        code = None if self._process is None else self._process.poll()
        if code == 0:
            return False
        if code is not None and code > 0 and not (self._subject.parts_fail and self._hurt and code == FAILED):
            raise Stuck(f"the command gave up with exit code {code}; see {self._log}")
        if self._process is None or code is not None:
            self._start()
        return True

    def steps(self) -> int:
        """The different steps that have been reported, of all stages of all runs."""
        events = [(file, event) for file in self.folder.rglob("metrics.jsonl") for event in read_events(file)]
        return len({(f, e["stage"], e["step"]) for f, e in events if e["event"] in ("pretrain_step", "rl_step")})

    def victims(self) -> dict[str, list[psutil.Process]]:
        """The live processes of each kind."""
        if self._process is None or self._process.poll() is not None:
            return {}
        found = {COMMAND: [psutil.Process(self._process.pid)]}
        for process in found[COMMAND][0].children(recursive=True):
            with suppress(psutil.Error):
                title = " ".join(process.cmdline())
                for kind in [k for k, begins in VICTIMS.items() if re.match(begins, title)]:
                    found.setdefault(kind, []).append(process)
        return found

    def hurt(self, process: psutil.Process) -> None:
        """Kill one of its processes."""
        process.kill()
        self._hurt = True

    def kill(self) -> None:
        """End the command as suddenly as the others."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=STUCK_S)

    def end(self) -> str:
        """A hash of what it ended in."""
        return self._subject.end(self.folder)

    def _start(self) -> None:
        command = [sys.executable, "-m", "cluster", *self._subject.arguments, str(self.folder), "--resume"]
        self._hurt = False
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def last_weights(folder: Path) -> str:
    """The hash of a run's last weights."""
    last = CheckpointStore(folder / "checkpoints").latest()
    if last is None:
        raise Stuck(f"{folder} holds no good checkpoint")
    return last.weight_hash


def numbers(folder: Path) -> str:
    """A hash of the numbers of the study in a folder: `study.json` without the seconds and the recipe's path."""
    (file,) = folder.glob("*/study.json")
    told = json.loads(file.read_bytes())
    del told["times"], told["recipe"]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


SUBJECTS: Final = {
    "run": Subject(("run", *RECIPE, "--run-dir"), last_weights, parts_fail=False),
    "study": Subject(("study", *STUDY, "--dir"), numbers, parts_fail=True),
}


class Soak:
    """The bursts of kills on one run, and the record of those that were."""

    def __init__(self, run: Run, record: Path, seed: int, kills: int, deadline: float) -> None:
        self._run = run
        self._record = record
        self._seed = seed
        self._wanted = kills
        self._deadline = deadline
        self.kills = [Kill(**json.loads(line)) for line in record.read_text().splitlines()] if record.exists() else []

    def finish(self) -> bool:
        """Kill and let the run go on until it is done; False when the time is up before."""
        while len(self.kills) < self._wanted and self._further():
            self._burst()
        while self._run.alive() and self._in_time():
            time.sleep(0.1)
        done = not self._run.alive()
        if not done:
            self._run.kill()
        return done

    def _further(self) -> bool:
        """Wait until the run is a step further; False when it is done or the time is up."""
        reached, began = self._run.steps(), time.monotonic()
        while self._run.alive() and self._in_time():
            if self._run.steps() > reached:
                return True
            if time.monotonic() - began > STUCK_S:
                raise Stuck(f"no further than {reached} steps for {STUCK_S:g} s after {self.kills[-MOST_IN_A_ROW:]}")
            time.sleep(0.1)
        return False

    def _burst(self) -> None:
        number = self.kills[-1].burst + 1 if self.kills else 0
        draw = random.Random(derive(self._seed, "burst", number))  # noqa: S311 - a schedule, no secret
        for _ in range(draw.randint(1, MOST_IN_A_ROW)):
            time.sleep(draw.uniform(0, 8))
            if not self._run.alive():
                return
            victims = self._run.victims()
            kind = draw.choice([kind for kind in (COMMAND, *VICTIMS) if kind in victims])
            with suppress(psutil.NoSuchProcess):
                self._run.hurt(draw.choice(victims[kind]))
                self._note(Kill(number, kind, self._run.steps()))

    def _note(self, kill: Kill) -> None:
        self.kills.append(kill)
        with self._record.open("a") as record:
            record.write(json.dumps(asdict(kill)) + "\n")

    def _in_time(self) -> bool:
        return time.monotonic() < self._deadline


def unbroken(run: Run, in_time: Callable[[], bool]) -> str | None:
    """What a run that nothing happens to ends in; None when the time is up before its end."""
    while run.alive() and in_time():
        time.sleep(0.1)
    if run.alive():
        run.kill()
        return None
    return run.end()


def main() -> None:
    """Run both and print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", choices=list(SUBJECTS), default="run")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e6, help="after which this call ends; the next one goes on")
    given = parser.parse_args()
    deadline = time.monotonic() + 60 * given.minutes
    given.folder.mkdir(parents=True, exist_ok=True)
    subject = SUBJECTS[given.of]
    straight = unbroken(Run(subject, given.folder / "unbroken"), lambda: time.monotonic() < deadline)
    run = Run(subject, given.folder / "broken")
    soak = Soak(run, given.folder / "kills.jsonl", given.seed, given.kills, deadline)
    try:
        done = straight is not None and soak.finish()
    except BaseException:
        run.kill()
        raise
    if not done:
        print(f"{len(soak.kills)} kills so far, {run.steps()} steps; call again to go on", file=sys.stderr)
        return
    result = {
        "seed": given.seed,
        "kills": len(soak.kills),
        "bursts": soak.kills[-1].burst + 1 if soak.kills else 0,
        "of": dict(sorted(Counter(kill.victim for kill in soak.kills).items())),
        "steps": run.steps(),
        "end": run.end(),
        "same": run.end() == straight,
    }
    print(json.dumps(result))
    sys.exit(not result["same"])


if __name__ == "__main__":
    main()
