"""Jobs against a real head with token authentication on, started apart from the session's Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from cluster.errors import ClusterUnreachable
from cluster.ray import jobs
from cluster.ray.packaging import PACKAGES, SHIPPED_RECIPE, recipe_to_send, stage
from tests.integration.heads import Head, free_port

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def server(head: Head) -> jobs.JobServer:
    return jobs.reach(head.jobs_address, head.environ)


def test_a_job_runs_our_packages_on_the_cluster_and_its_log_is_followed(
    server: jobs.JobServer, head: Head, tmp_path: Path
) -> None:
    stage(tmp_path, {})
    code = (
        "import os, ray, verifier.graphs.problem; ray.init(); "
        "print('packages from', verifier.__file__); print('cpus', ray.cluster_resources()['CPU']); "
        "print('home of caches', os.environ['XDG_CACHE_HOME'])"
    )
    job_id = jobs.submit(server, [sys.executable, "-c", code], tmp_path, "job-that-looks")
    log: list[str] = []
    assert jobs.follow(server, job_id, log.append) == "SUCCEEDED"
    text = "".join(log)
    assert "working_dir_files" in text, "the packages came from the checkout, not from what was shipped"
    assert "cpus 2.0" in text
    assert head.token not in text


def test_a_failing_job_is_reported_as_failed(server: jobs.JobServer, tmp_path: Path) -> None:
    job_id = jobs.submit(server, [sys.executable, "-c", "raise SystemExit(3)"], tmp_path, "job-that-fails")
    assert jobs.follow(server, job_id, lambda _: None) == "FAILED"


def test_stopping_a_job_lets_it_save_first(server: jobs.JobServer, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    work = tmp_path / "work"
    work.mkdir()
    code = (
        "import pathlib, signal, sys, time\n"
        f"def save(*_): time.sleep(4); pathlib.Path({str(saved)!r}).touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "print('up', flush=True)\n"
        "time.sleep(800)"
    )
    job_id = jobs.submit(server, [sys.executable, "-c", code], work, "job-to-stop")
    client = server.client()
    while "up" not in client.get_job_logs(job_id):  # asked to stop before that, it would not save
        assert not client.get_job_status(job_id).is_terminal()
        time.sleep(0.2)
    assert jobs.stop(server, job_id) == "STOPPED"
    assert saved.exists(), "the job was killed before it could save"


OWN_TASK = """
from tests_own_words import WRONG
from verifier.judgement import Judgement
from verifier.task import Address, Item, Stratum, distinct_items


class Broken:
    has_steps, has_gold = False, True

    def strata(self):
        return (Stratum.of(kind="only"),)

    def item(self, stratum, seed, index, split):
        return Item("1", Address(stratum, seed, index, split), "1 + 1 =", WRONG, 2)

    def judge(self, item, text):
        return Judgement(right=text.strip() == "2")

    def held_out(self, stratum, count, seed):
        return distinct_items(self, stratum, count, seed)
"""


def submit(head: Head, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster", "submit", *arguments, "--address", head.jobs_address],
        cwd=cwd,
        env=os.environ | head.environ | {"RAY_AUTH_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_a_recipe_that_is_none_fails_on_the_cluster_with_our_own_message(head: Head) -> None:
    done = submit(head, "smoke", "seed=-1", "--python", sys.executable)
    assert done.returncode == 1, done.stderr
    assert "FAILED" in done.stderr
    assert "error: recipe smoke: seed: " in done.stdout


def test_a_recipe_that_does_not_exist_is_not_sent(head: Head) -> None:
    done = submit(head, "no-such-recipe", "--python", sys.executable)
    assert done.returncode == 2
    assert "error: there is no recipe or study 'no-such-recipe'" in done.stderr


def test_a_study_is_read_on_the_cluster(head: Head) -> None:
    more = ("learner.workers=0", "--only", "strict", "--python", sys.executable)
    done = submit(head, "tests/integration/study.yaml", *more)
    assert done.returncode == 1, done.stderr
    assert "FAILED" in done.stderr
    assert "learner.workers: must be greater than or equal to 1" in done.stdout


def test_what_only_a_study_has_is_refused_for_a_recipe(head: Head) -> None:
    done = submit(head, "smoke", "--seeds", "0")
    assert done.returncode == 2
    assert "smoke is a recipe, not a study" in done.stderr


def test_code_in_the_folder_of_the_command_travels_with_the_job(head: Head, tmp_path: Path) -> None:
    """Its promises are tried on the cluster: with a gold text that is judged wrong, the job says so and ends."""
    (tmp_path / "my_problems.py").write_text(OWN_TASK)
    (tmp_path / "tests_own_words.py").write_text("WRONG = ' 3'")
    task = "{family: python, object: 'my_problems:Broken'}"
    done = submit(head, "smoke", f"stages.pretrain.train.task={task}", "--python", sys.executable, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "my_problems:Broken: the gold text of item" in done.stdout


def test_a_python_without_our_environment_says_so_and_what_to_do() -> None:
    """What a head that was started outside our environment runs; -S hides what is installed."""
    done = subprocess.run([sys.executable, "-S", "-m", "cluster", "run"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "interplay submit --python" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_job_is_one_clear_line(server: jobs.JobServer) -> None:
    with pytest.raises(jobs.JobError, match="knows no job nope"):
        jobs.stop(server, "nope")


def test_without_a_token_nothing_is_sent(head: Head, tmp_path: Path) -> None:
    assert httpx.get(f"{head.jobs_address}/api/jobs/").status_code == 401
    with pytest.raises(ClusterUnreachable, match="requires a token"):
        jobs.reach(head.jobs_address, {"HOME": str(tmp_path)})


def test_a_wrong_token_is_refused(head: Head) -> None:
    with pytest.raises(ClusterUnreachable, match="refuses our token"):
        jobs.reach(head.jobs_address, {"RAY_AUTH_TOKEN": "ab" * 32})


def test_a_dead_address_is_one_clear_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cluster", "stop", "job", "--address", f"127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no Ray answers at http://127.0.0.1:")
    assert " fix: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recipe_file_travels_with_the_packages(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\n")
    into = tmp_path / "into"
    into.mkdir()
    name, files = recipe_to_send(str(recipe))
    assert name == SHIPPED_RECIPE
    stage(into, files)
    assert (into / SHIPPED_RECIPE).read_text() == "name: mine\n"
    assert sorted(p.name for p in into.iterdir() if p.is_dir()) == sorted(PACKAGES)
    assert recipe_to_send("tiny-cpu") == ("tiny-cpu", {})
