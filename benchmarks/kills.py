"""A soak under kill -9: does a run whose processes die at random end in the weights of one that nothing happened to?

    python -m benchmarks.kills DIR --kills 100 --minutes 4      # again and again, until it prints its line

`DIR/unbroken` is the recipe run once. `DIR/broken` is the same run under bursts of one to five kills, each burst after
the run has come a step further, so that some hit a run at work and some one that is still being mended. Who dies and
when is drawn from the seed. A command that was killed is started again with --resume. The kills are kept in
`DIR/kills.jsonl`, so a call ends after its minutes and the next one goes on. Exit code 1: the weights differ, the
command gave up, or the run came no further for ten minutes.
"""

from __future__ import annotations

import argparse
import json
import random
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
COMMAND: Final = "command"
VICTIMS: Final = {
    "rollout worker": "ray::RolloutWorker",
    "reward worker": "ray::RewardWorker",
    "learner rank": "ray::LearnerRank",
    "controller": "ray::Controller",
}
"""The kinds of processes besides the command itself, and what their titles begin with."""
MOST_IN_A_ROW: Final = 5
STUCK_S: Final = 600.0


class Stuck(Exception):
    """The run does not come to its end; the message says what was seen."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: of which burst, of what, and how many steps the run had done by then."""

    burst: int
    victim: str
    steps: int


class Run:
    """The command on a folder, started again whenever it was killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def alive(self) -> bool:
        """Whether there is work left; starts the command where it is not running. Raises Stuck when it failed."""
        code = None if self._process is None else self._process.poll()
        if code == 0:
            return False
        if code is not None and code > 0:
            raise Stuck(f"the command gave up with exit code {code}; see {self._log}")
        if self._process is None or code is not None:
            self._start()
        return True

    def steps(self) -> int:
        """The different steps that the run has reported, of all its stages."""
        events = read_events(self.folder / "metrics.jsonl")
        return len({(e["stage"], e["step"]) for e in events if e["event"] in ("pretrain_step", "rl_step")})

    def victims(self) -> dict[str, list[psutil.Process]]:
        """The live processes of each kind."""
        if self._process is None or self._process.poll() is not None:
            return {}
        found = {COMMAND: [psutil.Process(self._process.pid)]}
        for process in found[COMMAND][0].children(recursive=True):
            with suppress(psutil.Error):
                title = " ".join(process.cmdline())
                for kind in [k for k, begins in VICTIMS.items() if title.startswith(begins)]:
                    found.setdefault(kind, []).append(process)
        return found

    def kill(self) -> None:
        """End the command as suddenly as the others."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def weights(self) -> str:
        """The hash of the run's last weights."""
        last = CheckpointStore(self.folder / "checkpoints").latest()
        if last is None:
            raise Stuck(f"{self.folder} holds no good checkpoint")
        return last.weight_hash

    def _start(self) -> None:
        command = [sys.executable, "-m", "cluster", "run", *RECIPE, "--run-dir", str(self.folder), "--resume"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


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
                draw.choice(victims[kind]).kill()
                self._note(Kill(number, kind, self._run.steps()))

    def _note(self, kill: Kill) -> None:
        self.kills.append(kill)
        with self._record.open("a") as record:
            record.write(json.dumps(asdict(kill)) + "\n")

    def _in_time(self) -> bool:
        return time.monotonic() < self._deadline


def unbroken(folder: Path, in_time: Callable[[], bool]) -> str | None:
    """The weights of a run that nothing happens to; None when the time is up before its end."""
    run = Run(folder)
    while run.alive() and in_time():
        time.sleep(0.1)
    if run.alive():
        run.kill()
        return None
    return run.weights()


def main() -> None:
    """Run both and print the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e6, help="after which this call ends; the next one goes on")
    given = parser.parse_args()
    deadline = time.monotonic() + 60 * given.minutes
    given.folder.mkdir(parents=True, exist_ok=True)
    straight = unbroken(given.folder / "unbroken", lambda: time.monotonic() < deadline)
    run = Run(given.folder / "broken")
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
        "weights": run.weights(),
        "same": run.weights() == straight,
    }
    print(json.dumps(result))
    sys.exit(not result["same"])


if __name__ == "__main__":
    main()
