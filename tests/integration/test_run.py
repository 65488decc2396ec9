"""The main job as a person runs it: real Ray, vLLM and DeepSpeed in processes of their own, killed and resumed.

Promises P1 (any process may die), P3 (killed and resumed equals straight) and P5 (nothing lost or doubled).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from actors.policy.checkpoint import CheckpointStore
from actors.rollouts.reading import kept
from actors.telemetry import read_events
from tests.integration.heads import Head

WORKERS = 1  # rollout workers of the recipe
SHORT = Path(__file__).with_name("short.yaml")
DEADLINE_S = 1800.0
ANSWER_S = 400.0  # for a command that only asks, and for a run that is asked to end

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@contextmanager
def interplay(*arguments: str, environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """The command in a session of its own, ended with everything it started however the block ends."""
    command = [sys.executable, "-m", "cluster", *arguments]
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | (environ or {})
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    try:
        yield process
    finally:
        for member in [*_descendants(process.pid), *([process] if process.poll() is None else [])]:
            member.kill()
        process.wait(timeout=30)
        assert process.stdout is not None
        process.stdout.close()


def run_to_its_end(run_dir: Path, *more: str) -> str:
    with interplay("run", str(SHORT), "--run-dir", str(run_dir), *more) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    return output


def final_weights(run_dir: Path) -> str:
    return CheckpointStore(run_dir / "checkpoints").get("rl-6").weight_hash


def learner_steps(run_dir: Path) -> list[dict]:
    return [dict(e) for e in read_events(run_dir / "metrics.jsonl") if e["event"] == "rl_step"]


def drawn(run_dir: Path) -> list[tuple]:
    """The kept rollouts in order, without the log-probabilities, whose last digits depend on the engine's batches."""
    rows = [row for part in reversed(kept(run_dir)) for row in part.read()]
    assert sorted({row.step for row in rows}) == [1, 2, 3, 4, 5, 6]
    return [(r.step, r.place, r.attempt, r.sample, r.item, r.completion_ids, r.text, r.reward, r.trained) for r in rows]


def when(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until the run has come to a point; its end before that is a failure."""
    pause = threading.Event()
    while not condition():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        pause.wait(0.05)


def status_of(run_dir: Path) -> dict:
    """What `interplay status` says of a live run; asked again while its controller is not there or not at work."""
    while True:
        with interplay("status", str(run_dir), "--json") as asking:
            answer, _ = asking.communicate(timeout=ANSWER_S)
        if asking.returncode == 0 and (status := json.loads(answer.splitlines()[-1]))["stage"] != "idle":
            return status
        assert (run_dir / "cluster.json").exists(), answer


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers(process: subprocess.Popen[str], title: str) -> list[psutil.Process]:
    found = []
    for member in _descendants(process.pid):
        try:
            if title in " ".join(member.cmdline()):
                found.append(member)
        except psutil.Error:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Sent:
    """A run that was sent to a cluster as a job, what the command printed, and what `status` said meanwhile."""

    run_dir: Path
    output: str
    status: dict


@pytest.fixture(scope="module")
def sent(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    run_dir = tmp_path_factory.mktemp("straight")
    submit = ["submit", str(SHORT), "--address", head.jobs_address, "--python", sys.executable]
    with interplay(*submit, "--run-dir", str(run_dir), environ=head.environ) as process:
        when((run_dir / "cluster.json").exists, process)
        status = status_of(run_dir)
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    return Sent(run_dir, output, status)


@pytest.fixture(scope="module")
def straight(sent: Sent) -> Path:
    """A run that nothing happened to. That of the cluster: what else ends in its weights was started here."""
    return sent.run_dir


def test_a_recipe_sent_to_a_cluster_as_a_job_is_watched_there(sent):
    assert "SUCCEEDED" in sent.output
    assert sent.status["stage"] == "rl"


def test_a_run_syncs_after_every_step_within_the_parity_tolerance(straight):
    syncs = [e for e in read_events(straight / "metrics.jsonl") if e["event"] == "sync"]
    assert [e["weight_version"] for e in syncs] == list(range(7))
    assert max(e["parity_max_abs_diff"] for e in syncs) <= 1e-4
    assert [e["step"] for e in learner_steps(straight)] == [1, 2, 3, 4, 5, 6]


def test_what_a_run_keeps_is_what_it_learned_from(straight):
    rows = [row for part in kept(straight) for row in part.read()]
    trained = [row for row in rows if row.trained]
    assert 0 < len(trained) <= len(rows)
    for row in trained:
        assert row.learner_logprobs == pytest.approx(row.logprobs, abs=1e-3)
        assert row.advantages is not None
        assert len(row.advantages) == len(row.completion_ids)
    assert all(row.learner_logprobs is None for row in rows if not row.trained)


def test_every_checkpoint_knows_where_it_comes_from(straight):
    checkpoints = CheckpointStore(straight / "checkpoints").list()
    base, *learned = checkpoints
    assert {m.parent for m in learned} == {base.id}
    assert [m.step for m in learned] == [1, 2, 3, 4, 5, 6]
    assert learned[-1].tokens > learned[0].tokens > 0


def test_a_run_killed_half_way_and_resumed_ends_in_the_weights_of_the_job(straight, tmp_path):
    with interplay("run", str(SHORT), "--run-dir", str(tmp_path)) as process:
        when(lambda: len(learner_steps(tmp_path)) >= 3, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL, "it had ended before"
    run_to_its_end(tmp_path, "--resume")
    assert final_weights(tmp_path) == final_weights(straight)
    assert drawn(tmp_path) == drawn(straight)


def test_the_controller_a_rollout_worker_and_the_learner_killed_in_one_run_cost_nothing_but_time(straight, tmp_path):
    with interplay("run", str(SHORT), "--run-dir", str(tmp_path)) as process:
        for step, title in ((1, "ray::Controller"), (3, "ray::RolloutWorker"), (4, "ray::LearnerRank")):
            when(lambda step=step: any(e["step"] == step for e in learner_steps(tmp_path)), process)
            (victim, *_) = workers(process, title)
            victim.kill()
        for worker in workers(process, "ray::RolloutWorker"):  # the weights that their successors need died just now
            worker.kill()
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    events = list(read_events(tmp_path / "metrics.jsonl"))
    assert [e["rollout_restarts"] for e in events if e["event"] == "fleet"] == [1 + WORKERS]
    assert len([e for e in events if e["event"] == "learner_lost"]) == 1
    assert "warning: the learner was lost" in output
    assert "warning: the run's controller died" in output
    assert sorted({e["step"] for e in learner_steps(tmp_path)}) == [1, 2, 3, 4, 5, 6]
    assert final_weights(tmp_path) == final_weights(straight)
    assert drawn(tmp_path) == drawn(straight)


def test_kills_in_a_row_while_the_last_is_being_mended_cost_nothing_but_time(straight, tmp_path):
    """The learner's reservation is so large that no second one fits beside it: what a dead one kept must be freed."""
    with interplay("run", str(SHORT), "--run-dir", str(tmp_path), "learner.cpus=0.9") as process:
        when(lambda: len(learner_steps(tmp_path)) >= 2, process)
        for title in ("LearnerRank", "Controller", "LearnerRank", "Controller", "LearnerRank"):
            when(lambda title=title: bool(workers(process, f"ray::{title}")), process)
            for victim in workers(process, f"ray::{title}"):
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    assert "warning: the run's controller died" in output
    assert sorted({e["step"] for e in learner_steps(tmp_path)}) == [1, 2, 3, 4, 5, 6]
    assert final_weights(tmp_path) == final_weights(straight)


def test_deterministic_asynchronous_runs_end_in_the_same_bytes_whatever_becomes_of_their_workers(tmp_path):
    order = ["order=deterministic", "max_staleness=1", "learning.correction.weights=none"]
    settings = [*(f"stages.rl.rl.{key}" for key in order), "fleet.rollout_cpus=0.3"]
    two, three = tmp_path / "two", tmp_path / "three"
    with interplay("run", str(SHORT), "--run-dir", str(two), "fleet.rollout_workers=2", *settings) as process:
        when(lambda: len(learner_steps(two)) >= 2, process)
        workers(process, "ray::RolloutWorker")[0].kill()
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    run_to_its_end(three, "fleet.rollout_workers=3", *settings)
    assert final_weights(two) == final_weights(three)
    assert max(e["lag_mean"] for e in learner_steps(three)) == 1


def test_a_full_disk_costs_checkpoints_then_the_run_and_never_the_last_good_one(tmp_path):
    """A limit on file sizes is what a full disk is to the learner: its write comes back with an error."""
    with interplay("run", str(SHORT), "--run-dir", str(tmp_path)) as process:
        when(lambda: len(learner_steps(tmp_path)) >= 2, process)
        (learner, *_) = workers(process, "ray::LearnerRank")
        learner.rlimit(psutil.RLIMIT_FSIZE, (1 << 20, psutil.RLIM_INFINITY))
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1, output
    failed = [e["in_a_row"] for e in read_events(tmp_path / "metrics.jsonl") if e["event"] == "save_failed"]
    assert failed == [1, 2, 3]
    assert "warning" in output
    assert "was not saved" in output
    assert "Traceback" not in output
    kept = CheckpointStore(tmp_path / "checkpoints").latest("rl")
    assert kept is not None
    assert kept.step == learner_steps(tmp_path)[-1]["step"] - 3


def test_a_live_run_is_watched_and_scaled_and_ctrl_c_saves_and_leaves_no_process(tmp_path):
    with interplay("run", str(SHORT), "--run-dir", str(tmp_path), "stages.rl.rl.steps=2000") as process:
        when(lambda: len(learner_steps(tmp_path)) >= 1, process)
        with interplay("scale", str(tmp_path), "--rollout-workers", "2") as scaling:
            output, _ = scaling.communicate(timeout=ANSWER_S)
        assert scaling.returncode == 0, output
        two = lambda: {e["worker"].partition(".")[0] for e in _syncs(tmp_path)} == {"rollout-0", "rollout-1"}  # noqa: E731
        when(two, process)
        with interplay("scale", str(tmp_path), "--rollout-workers", "1") as scaling:
            output, _ = scaling.communicate(timeout=ANSWER_S)
        assert scaling.returncode == 0, output
        assert status_of(tmp_path)["stage"] == "rl"
        started = _descendants(process.pid)
        assert started
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=ANSWER_S)
    assert process.returncode == 130, output
    steps = [m.step for m in CheckpointStore(tmp_path / "checkpoints").list() if m.stage == "rl"]
    assert steps[-1] == learner_steps(tmp_path)[-1]["step"]
    assert not [member for member in started if member.is_running()]


def _syncs(run_dir: Path) -> list[dict]:
    return [dict(e) for e in read_events(run_dir / "metrics.jsonl") if e["event"] == "sync"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "smoke", "sed=1"], r"sed: there is no such key; did you mean seed\?"),
        (["run", str(SHORT), "fleet.rollout_workers=64"], r"cpus +32\.20 +[\d.]+ +[\d.]+"),
        (["run", str(SHORT), "stages.base.base=./nowhere"], r"there is no folder nowhere.*fix: "),
        (["run", "tiny-cpo"], r"there is no recipe 'tiny-cpo'.*did you mean tiny-cpu\?"),
        (["run", str(SHORT), "--address", "127.0.0.1:9"], r"nothing answers at 127\.0\.0\.1:9"),
        (["status", "no-such-run"], r"there is no run no-such-run\..*fix: "),
        (["eval", "no-such-run"], r"there is no run no-such-run\..*fix: "),
    ],
)
def test_what_a_person_can_get_wrong_ends_at_once_with_the_fix(tmp_path, arguments, told):
    run_dir = ["--run-dir", str(tmp_path / "run")] if arguments[0] == "run" else []
    with interplay(*arguments, *run_dir) as process:
        output, _ = process.communicate(timeout=ANSWER_S)
    assert process.returncode == 2
    assert not (tmp_path / "run" / "stages.json").exists()
    assert re.search(told, output, re.DOTALL), output
    assert "Traceback" not in output
